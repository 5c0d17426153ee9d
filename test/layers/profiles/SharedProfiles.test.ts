import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { assert, layer } from "@effect/vitest"
import { Context, Effect, Layer, Result } from "effect"
import { TestRedis, testRedis } from "../../support/components/redisLayer.ts"
import { testDatabase } from "../../support/postgres.ts"
import { insertEndpoint, publishVersion } from "./registry.ts"
import { change, changeSecretly, eventually, startProcess, vouched } from "./shared.ts"

type Process = Pick<Profiles["Service"], "devices">
const markOf = (process: Process, deviceId: string) =>
  Effect.map(process.devices([deviceId]), (found) => found.get(deviceId)?.logicalIdentifier as string | undefined)

layer(Layer.merge(testDatabase, testRedis), { excludeTestServices: true })("profiles shared in Redis", (it) => {
  it.effect("are loaded from PostgreSQL by one process and found by the others", () =>
    Effect.gen(function* () {
      const { deviceId, deviceTypeId } = yield* insertEndpoint()
      const one = yield* startProcess()
      const two = yield* startProcess()
      yield* vouched
      assert.isUndefined(yield* markOf(one, deviceId))
      const types = (yield* one.deviceTypes([deviceTypeId])).get(deviceTypeId)
      yield* changeSecretly(deviceId, "in PostgreSQL only")
      assert.isUndefined(yield* markOf(two, deviceId))
      const shared = (yield* two.deviceTypes([deviceTypeId])).get(deviceTypeId)
      assert.isTrue(Result.isSuccess(shared!.versions[0]!.compiled))
      assert.deepStrictEqual(
        shared!.versions.map(({ effectiveAt, number }) => [number, effectiveAt]),
        types!.versions.map(({ effectiveAt, number }) => [number, effectiveAt])
      )
      const server = yield* TestRedis
      const keys = yield* Effect.promise(() => server.command("KEYS *"))
      assert.include(keys, `device:profile:${deviceId}`)
      assert.include(keys, `device-type:profile:${deviceTypeId}`)
    })
  )

  it.effect("serve a process that starts after other devices have changed", () =>
    Effect.gen(function* () {
      const { deviceId } = yield* insertEndpoint()
      const one = yield* startProcess()
      yield* vouched
      assert.isUndefined(yield* markOf(one, deviceId))
      yield* insertEndpoint()
      yield* vouched
      yield* changeSecretly(deviceId, "in PostgreSQL only")
      const two = yield* startProcess()
      assert.isUndefined(yield* markOf(two, deviceId))
    })
  )

  it.effect("that have changed are not taken by a process that starts later", () =>
    Effect.gen(function* () {
      const { deviceId } = yield* insertEndpoint()
      const one = yield* startProcess()
      yield* vouched
      yield* markOf(one, deviceId)
      yield* change(deviceId, "changed")
      yield* vouched
      const two = yield* startProcess()
      assert.strictEqual(yield* markOf(two, deviceId), "changed")
    })
  )

  it.effect("that changed while nobody could tell the cache are not taken from it", () =>
    Effect.gen(function* () {
      const { deviceId } = yield* insertEndpoint()
      const one = yield* startProcess()
      yield* vouched
      yield* markOf(one, deviceId)
      yield* one.end
      yield* change(deviceId, "changed")
      const two = yield* startProcess()
      assert.strictEqual(yield* markOf(two, deviceId), "changed")
      yield* Effect.sleep(2_600) // a new generation has begun
      const three = yield* startProcess()
      assert.strictEqual(yield* markOf(three, deviceId), "changed")
    })
  )

  it.effect("that a Redis restarted from an older state brings back are not taken", () =>
    Effect.gen(function* () {
      const server = yield* TestRedis
      const { deviceId } = yield* insertEndpoint()
      const one = yield* startProcess()
      yield* vouched
      yield* markOf(one, deviceId)
      yield* Effect.promise(() => server.save())
      yield* change(deviceId, "changed")
      yield* eventually(
        "known",
        Effect.map(markOf(one, deviceId), (mark) => mark === "changed")
      )
      yield* Effect.promise(() => server.kill())
      yield* Effect.promise(() => server.start())
      for (let round = 0; round < 6; round++) {
        const two = yield* startProcess()
        assert.strictEqual(yield* markOf(two, deviceId), "changed")
        yield* two.end
        yield* Effect.sleep(300)
      }
    })
  )

  it.effect("are forgotten by all processes when one is asked to, or somebody publishes it", () =>
    Effect.gen(function* () {
      const server = yield* TestRedis
      const { deviceId, deviceTypeId, tenantId } = yield* insertEndpoint()
      const one = yield* startProcess()
      const two = yield* startProcess()
      const knowing = (mark: string) =>
        eventually(
          mark,
          Effect.map(markOf(two, deviceId), (found) => found === mark)
        )
      yield* vouched
      yield* markOf(two, deviceId)
      yield* changeSecretly(deviceId, "by hand")
      yield* one.invalidate({ type: "device", id: deviceId })
      yield* knowing("by hand")
      yield* changeSecretly(deviceId, "all")
      yield* one.invalidate({ type: "all" })
      yield* knowing("all")
      yield* changeSecretly(deviceId, "published")
      yield* Effect.promise(() => server.command(`PUBLISH cache:invalidate:device:${deviceId} now`))
      yield* knowing("published")
      yield* changeSecretly(deviceId, "published as JSON")
      yield* Effect.promise(() => server.command(`PUBLISH cache:invalidate '{"type":"device","id":"${deviceId}"}'`))
      yield* knowing("published as JSON")
      yield* two.deviceTypes([deviceTypeId])
      const effectiveAt = Date.now() + 2_000
      const config = { processingMode: "endpoint" }
      yield* publishVersion({ tenantId, deviceTypeId, number: 2, effectiveAt, config })
      yield* eventually(
        "both versions",
        Effect.map(two.deviceTypes([deviceTypeId]), (types) => types.get(deviceTypeId)?.versions.length === 2)
      )
    })
  )

  it.effect("are forgotten in Redis too when it was away while they were to be forgotten", () =>
    Effect.gen(function* () {
      const server = yield* TestRedis
      const { deviceId } = yield* insertEndpoint()
      const one = yield* startProcess()
      const two = yield* startProcess()
      yield* vouched
      yield* markOf(two, deviceId)
      server.hang()
      yield* changeSecretly(deviceId, "by hand")
      yield* one.invalidate({ type: "device", id: deviceId })
      yield* eventually(
        "by hand",
        Effect.map(markOf(two, deviceId), (found) => found === "by hand")
      )
      server.goOn()
      // What Redis is not told would be there for an hour.
      const newcomer = Effect.scoped(Effect.flatMap(startProcess(), (three) => markOf(three, deviceId)))
      yield* eventually(
        "a newcomer knows it",
        Effect.map(newcomer, (mark) => mark === "by hand")
      )
    })
  )

  it.effect("come from PostgreSQL without a pause while Redis hangs", () =>
    Effect.gen(function* () {
      const server = yield* TestRedis
      const devices = yield* Effect.all(Array.from({ length: 40 }, () => insertEndpoint()))
      const one = yield* startProcess()
      yield* vouched
      server.hang()
      const started = performance.now()
      for (const { deviceId } of devices) assert.strictEqual((yield* one.devices([deviceId])).size, 1)
      const took = performance.now() - started
      server.goOn()
      // With a time limit of Redis for each it would be 10 s.
      assert.isBelow(took, 5_000)
    })
  )
})

layer(testDatabase, { excludeTestServices: true })("profiles of processes without Redis", (it) => {
  it.effect("are forgotten by all when one is asked to", () =>
    Effect.gen(function* () {
      const { deviceId } = yield* insertEndpoint()
      const start = Effect.map(Layer.build(Layer.fresh(ProfileCache.layer({ size: 100 }))), (context) =>
        Context.get(context, Profiles)
      )
      const one = yield* start
      const two = yield* start
      yield* Effect.sleep(500) // the pushes of its creation
      yield* markOf(two, deviceId)
      yield* changeSecretly(deviceId, "by hand")
      yield* one.invalidate({ type: "device", id: deviceId })
      yield* eventually(
        "by hand",
        Effect.map(markOf(two, deviceId), (found) => found === "by hand")
      )
      yield* changeSecretly(deviceId, "all")
      yield* one.invalidate({ type: "all" })
      yield* eventually(
        "all",
        Effect.map(markOf(two, deviceId), (found) => found === "all")
      )
    })
  )
})
