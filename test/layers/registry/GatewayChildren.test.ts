import { assert, layer } from "@effect/vitest"
import { childDeviceId } from "@argusiq/domain/demultiplex.ts"
import { type DeviceTypeId } from "@argusiq/domain/ids.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { GatewayChildren, type Registered } from "@argusiq/layers/registry/GatewayChildren.ts"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { testDatabase } from "../../support/postgres.ts"
import { insertChild, insertGateway, type TestGateway } from "../profiles/registry.ts"

const occurredAt = 1_763_725_301_123_457

const register = Effect.fnUntraced(function* (
  gateway: TestGateway,
  identifiers: Iterable<string>,
  { childTypeId = gateway.childTypeId, maxChildren = 10_000 }: { childTypeId?: string; maxChildren?: number } = {}
) {
  const { deviceId: gatewayId, tenantId } = gateway
  const strategy = { autoCreateChildren: true, maxChildren, childDeviceTypeId: childTypeId as DeviceTypeId }
  return yield* (yield* GatewayChildren).register({ tenantId, gatewayId, identifiers, strategy, occurredAt })
})

const idsOf = (registered: Registered) =>
  Object.fromEntries(
    Array.from(registered, ([identifier, child]) => [
      identifier,
      child instanceof Poison ? child.reason : child.deviceId
    ])
  )

const childrenOf = Effect.fnUntraced(function* ({ deviceId }: TestGateway) {
  const sql = yield* OwnerSql
  return yield* sql<{ id: string; logical_identifier: string; name: string; device_type_id: string }>`
    select id, logical_identifier, name, device_type_id from devices
    where parent_device_id = ${deviceId} order by logical_identifier`
})

const eventsOf = Effect.fnUntraced(function* ({ tenantId }: TestGateway) {
  const sql = yield* OwnerSql
  return yield* sql<{ entity_id: string; payload: object; occurred: number }>`
    select entity_id, payload, (extract(epoch from occurred_at) * 1000000)::float8 as occurred from system_events
    where tenant_id = ${tenantId} and event_type = 'DEVICE_CREATED' order by sequence`
})

layer(Layer.provideMerge(GatewayChildren.layer, testDatabase), { excludeTestServices: true })(
  "a gateway's children",
  (it) => {
    it.effect("are created under derived ids, each with its event, and found the next time", () =>
      Effect.gen(function* () {
        const gateway = yield* insertGateway()
        const known = yield* insertChild(gateway, "b")
        const idOf = (identifier: string) => childDeviceId(gateway.tenantId, gateway.deviceId, identifier)
        const expected = { a: idOf("a"), b: known, "c 1": idOf("c 1") }
        assert.deepStrictEqual(idsOf(yield* register(gateway, ["a", "b", "c 1"])), expected)
        assert.deepStrictEqual(idsOf(yield* register(gateway, ["c 1", "b", "a"])), expected)
        const rows = yield* childrenOf(gateway)
        assert.deepStrictEqual(
          rows.map(({ id }) => id),
          [expected.a, known, expected["c 1"]]
        )
        assert.deepInclude(rows[0], { name: "a", device_type_id: gateway.childTypeId })
        const events = yield* eventsOf(gateway)
        assert.deepStrictEqual(events, [
          {
            entity_id: expected.a,
            occurred: occurredAt,
            payload: {
              name: "a",
              deviceTypeId: gateway.childTypeId,
              gatewayDeviceId: gateway.deviceId,
              logicalIdentifier: "a"
            }
          },
          {
            entity_id: expected["c 1"],
            occurred: occurredAt,
            payload: {
              name: "c 1",
              deviceTypeId: gateway.childTypeId,
              gatewayDeviceId: gateway.deviceId,
              logicalIdentifier: "c 1"
            }
          }
        ])
      })
    )

    it.effect(
      "look for their gateway by its id, not among its tenant's devices, while nothing is known of the table",
      () =>
        Effect.gen(function* () {
          const sql = yield* OwnerSql
          const { deviceId, tenantId } = yield* insertGateway()
          const plan = yield* sql<{ "QUERY PLAN": string }>`
          explain select from only devices where tenant_id = ${tenantId}::uuid and id = ${deviceId}::uuid for key share`
          const condition = plan.map((row) => row["QUERY PLAN"]).find((line) => line.includes("Index Cond"))
          assert.match(condition ?? "", /\(id = /)
        })
    )

    it.effect("are one each, and no more than the type allows, though many ask for them at once", () =>
      Effect.gen(function* () {
        const gateway = yield* insertGateway()
        const asks = Array.from({ length: 12 }, (_, ask) =>
          Array.from({ length: 60 }, (_, index) => `beacon ${(index * 7 + ask * 13) % 200}`)
        )
        const answers = yield* Effect.forEach(asks, (ask) => register(gateway, ask, { maxChildren: 150 }), {
          concurrency: "unbounded"
        })
        const rows = yield* childrenOf(gateway)
        assert.lengthOf(rows, 150)
        assert.lengthOf(yield* eventsOf(gateway), 150)
        const created = new Map(rows.map(({ id, logical_identifier }) => [logical_identifier, id]))
        let refused = 0
        for (const answer of answers) {
          assert.strictEqual(answer.size, 60)
          for (const [identifier, child] of answer) {
            if (child instanceof Poison) {
              refused++
              assert.strictEqual(child.reason, "ChildLimitReached")
              assert.isFalse(created.has(identifier))
            } else assert.strictEqual(child.deviceId, created.get(identifier))
          }
        }
        assert.isAbove(refused, 0)
      })
    )

    it.effect(
      "that were given to another gateway, or another identifier, are refused, and their neighbours are not",
      () =>
        Effect.gen(function* () {
          const sql = yield* OwnerSql
          const gateway = yield* insertGateway()
          const other = yield* insertGateway()
          const { moved, renamed } = idsOf(yield* register(gateway, ["moved", "renamed"]))
          yield* sql`update devices set parent_device_id = null, logical_identifier = null where id = ${moved!}`
          yield* sql`update devices set logical_identifier = 'another' where id = ${renamed!}`
          const found = idsOf(yield* register(gateway, ["moved", "renamed", "another", "neighbour"]))
          assert.deepInclude(found, {
            moved: "UnknownChildDevice",
            renamed: "UnknownChildDevice",
            another: renamed,
            neighbour: childDeviceId(gateway.tenantId, gateway.deviceId, "neighbour")
          })
          assert.notStrictEqual(idsOf(yield* register(other, ["moved"]))["moved"], moved)
        })
    )

    it.effect("are refused while their type, or by now their gateway, does not exist in the organisation", () =>
      Effect.gen(function* () {
        const gateway = yield* insertGateway()
        const other = yield* insertGateway()
        const known = yield* insertChild(gateway, "known")
        for (const childTypeId of [randomUUID(), other.childTypeId]) {
          const found = yield* register(gateway, ["known", "new"], { childTypeId })
          assert.deepStrictEqual(idsOf(found), { known, new: "UnknownChildDevice" })
          assert.include((found.get("new") as Poison).message, childTypeId)
        }
        const gone = { ...gateway, deviceId: randomUUID() }
        assert.deepStrictEqual(idsOf(yield* register(gone, ["new"])), { new: "UnknownChildDevice" })
        const foreign = { ...gateway, tenantId: other.tenantId }
        assert.deepStrictEqual(idsOf(yield* register(foreign, ["known"])), { known: "UnknownChildDevice" })
        assert.lengthOf(yield* childrenOf(gateway), 1)
      })
    )
  }
)
