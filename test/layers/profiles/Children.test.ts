import { assert, layer } from "@effect/vitest"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { Effect, Layer } from "effect"
import { testDatabase } from "../../support/postgres.ts"
import { insertChild, insertGateway, type TestGateway } from "./registry.ts"

const childrenOf = Effect.fnUntraced(function* (gateway: TestGateway, ...identifiers: ReadonlyArray<string>) {
  const { deviceId: gatewayId, tenantId } = gateway
  const found = yield* (yield* Profiles).children([{ tenantId, gatewayId, identifiers }])
  return new Map(Array.from(found.get(gatewayId) ?? [], ([identifier, { deviceId }]) => [identifier, deviceId]))
})

const eventually = <E, R>(what: string, condition: Effect.Effect<boolean, E, R>) =>
  Effect.gen(function* () {
    const until = Date.now() + 15_000
    while (!(yield* condition)) {
      if (Date.now() > until) assert.fail(`not within 15 s: ${what}`)
      yield* Effect.sleep(10)
    }
  })

layer(Layer.provideMerge(ProfileCache.layer({ size: 1_000 }), testDatabase), { excludeTestServices: true })(
  "cached children",
  (it) => {
    it.effect("stand behind the gateway of their organisation, by their identifiers there", () =>
      Effect.gen(function* () {
        const [one, other] = [yield* insertGateway(), yield* insertGateway()]
        const a = yield* insertChild(one, "a")
        const alike = yield* insertChild(other, "a")
        const found = yield* (yield* Profiles).children([
          { tenantId: one.tenantId, gatewayId: one.deviceId, identifiers: ["a", "b", "a\0", ""] },
          { tenantId: other.tenantId, gatewayId: other.deviceId, identifiers: new Set(["a"]) },
          { tenantId: other.tenantId, gatewayId: one.deviceId, identifiers: ["a"] },
          { tenantId: "no tenant", gatewayId: "no gateway", identifiers: ["a"] }
        ])
        assert.deepStrictEqual([...found.get(one.deviceId)!.keys()], ["a"])
        assert.deepInclude(found.get(one.deviceId)!.get("a"), {
          deviceId: a,
          deviceTypeId: one.childTypeId,
          status: "active"
        })
        assert.strictEqual(found.get(other.deviceId)!.get("a")!.deviceId, alike)
        assert.strictEqual(found.get("no gateway")!.size, 0)
      })
    )

    it.effect("are found at once when they come to be, however often they were asked for before", () =>
      Effect.gen(function* () {
        const gateway = yield* insertGateway()
        for (let round = 0; round < 20; round++) {
          const identifier = `child ${round}`
          assert.strictEqual((yield* childrenOf(gateway, identifier)).size, 0)
          assert.strictEqual((yield* childrenOf(gateway, identifier)).size, 0)
          const id = yield* insertChild(gateway, identifier)
          assert.strictEqual((yield* childrenOf(gateway, identifier)).get(identifier), id)
        }
      })
    )

    it.effect("are those of the present when one is renamed, moved, taken out of service or replaced", () =>
      Effect.gen(function* () {
        const sql = yield* OwnerSql
        const [gateway, other] = [yield* insertGateway(), yield* insertGateway()]
        const id = yield* insertChild(gateway, "a")
        assert.strictEqual((yield* childrenOf(gateway, "a")).get("a"), id)
        yield* sql`update devices set logical_identifier = 'b' where id = ${id}`
        yield* eventually(
          "the new name",
          Effect.map(childrenOf(gateway, "a", "b"), (found) => !found.has("a") && found.get("b") === id)
        )
        const successor = yield* insertChild(gateway, "a")
        assert.strictEqual((yield* childrenOf(gateway, "a")).get("a"), successor)
        yield* sql`update devices set status = 'decommissioned' where id = ${id}`
        const { deviceId: gatewayId, tenantId } = gateway
        const asked = Effect.flatMap(Profiles, (profiles) =>
          profiles.children([{ tenantId, gatewayId, identifiers: ["b"] }])
        )
        yield* eventually(
          "its status",
          Effect.map(asked, (found) => found.get(gatewayId)?.get("b")?.status === "decommissioned")
        )
        yield* sql`delete from devices where id = ${id}`
        yield* eventually(
          "its end",
          Effect.map(childrenOf(gateway, "b"), (found) => found.size === 0)
        )
        assert.strictEqual((yield* childrenOf(other, "a")).size, 0)
      })
    )
  }
)
