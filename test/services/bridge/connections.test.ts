import * as DeviceConnections from "@argusiq/bridge/DeviceConnections.ts"
import { listen } from "@argusiq/bridge/mqtt/MqttListener.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { ApiKeys } from "@argusiq/layers/registry/ApiKeys.ts"
import { Devices } from "@argusiq/layers/registry/Devices.ts"
import { assert, layer } from "@effect/vitest"
import { ConfigProvider, Effect, Exit, Layer, Scope } from "effect"
import { type MqttClient } from "mqtt"
import * as Support from "./support.ts"
import {
  client,
  connectionsOf,
  connectPacket,
  Faults,
  holding,
  marker,
  publish,
  raw,
  RawClient,
  shortTopic,
  until
} from "./support.ts"

const actor = { tenantId: Support.orgA as TenantId, userId: undefined }
const revokeKeys = Effect.fnUntraced(function* ({ id }: Support.TestDevice) {
  const keys = yield* ApiKeys
  for (const key of yield* keys.list(actor, id)) yield* keys.revoke(actor, id, key.id)
})

const cut = Effect.fnUntraced(function* (one: MqttClient) {
  const since = performance.now()
  yield* until("the connection is closed", () => !one.connected)
  assert.isBelow(performance.now() - since, 5_000)
})
const told = (device: Support.TestDevice, count: number) =>
  connectionsOf(device).pipe(
    Effect.delay(10),
    Effect.repeat({ until: (connections) => connections.length >= count }),
    Effect.timeout("5 seconds")
  )

layer(Support.bridge(), { excludeTestServices: true, timeout: 60_000 })("a live MQTT connection", (it) => {
  const registry = Layer.merge(ApiKeys.layer, Devices.layer)
  const ways = {
    "its key is revoked": revokeKeys,
    "its device is decommissioned": Effect.fnUntraced(function* ({ id }: Support.TestDevice) {
      yield* (yield* Devices).decommission(actor, id)
    }),
    "its device is deleted": Effect.fnUntraced(function* ({ id }: Support.TestDevice) {
      yield* (yield* Devices).remove(actor, id)
    })
  }
  Object.entries(ways).forEach(([what, end], index) => {
    it.effect(`is closed within five seconds when ${what}, and leaves no will; another device's stays`, () =>
      Effect.gen(function* () {
        const device = Support.devicesA[index]!
        const mark = marker("will")
        const will = { topic: shortTopic(device), payload: Buffer.from(mark), qos: 1, retain: false } as const
        const ended = yield* client(device, { clientId: "ended", protocolVersion: 5, will })
        const idle = yield* client(device, { clientId: "ended too" })
        const other = yield* client(Support.devicesA[20]!, { clientId: "stays" })
        const reasons: Array<number | undefined> = []
        ended.on("disconnect", ({ reasonCode }) => reasons.push(reasonCode))
        yield* publish(ended, shortTopic(device), marker("before"))
        yield* Effect.sleep(1_200) // its login has been looked at
        assert.isTrue(ended.connected && idle.connected)
        yield* end(device)
        yield* cut(ended)
        yield* cut(idle)
        assert.deepStrictEqual(reasons, [0x87])
        yield* publish(other, shortTopic(Support.devicesA[20]!), marker("after"))
        yield* Effect.flip(client(device, { clientId: "again" }))
        const last = (yield* told(device, 4)).at(-1)
        assert.deepInclude(last, {
          connected: false,
          connections: 0,
          reason: "its key or certificate is not valid any more"
        })
        assert.deepStrictEqual(holding(yield* raw, mark), [])
      }).pipe(Effect.provide(registry))
    )
  })

  it.effect("stays while another key of its device is revoked, and while the use of its key is written down", () =>
    Effect.gen(function* () {
      const device = Support.devicesA[4]!
      const second = yield* (yield* ApiKeys).create(actor, device.id)
      const stays = yield* client(device, { clientId: "stays" })
      const ended = yield* client(device, { clientId: "ended", password: second.key })
      yield* (yield* ApiKeys).revoke(actor, device.id, second.id)
      yield* cut(ended)
      yield* publish(stays, shortTopic(device), marker("stays"))
    }).pipe(Effect.provide(registry))
  )

  it.effect("is closed within five seconds when its organization is suspended, and comes back with it", () =>
    Effect.gen(function* () {
      const device = Support.devicesA[6]!
      const ofA = yield* client(device, { clientId: "of a" })
      const ofB = yield* client(Support.b1, { clientId: "of b" })
      const setStatus = (status: string) =>
        Effect.flatMap(OwnerSql, (sql) => sql`update organizations set status = ${status} where id = ${Support.orgA}`)
      yield* setStatus("suspended")
      yield* cut(ofA)
      yield* Effect.flip(client(device, { clientId: "again" }))
      assert.isTrue(ofB.connected)
      yield* setStatus("active")
      yield* Effect.sleep(1_500)
      yield* client(device, { clientId: "again" })
    })
  )

  it.effect("stays while the database is away, and is closed when that tells that its key was revoked", () =>
    Effect.gen(function* () {
      const faults = yield* Faults
      const device = Support.devicesA[5]!
      const one = yield* client(device, { clientId: "away" })
      faults.database = "away"
      yield* revokeKeys(device)
      yield* Effect.sleep(2_500)
      assert.isTrue(one.connected)
      faults.database = "none"
      yield* cut(one)
    }).pipe(Effect.provide(registry))
  )
})

layer(Support.bridge(), { excludeTestServices: true, timeout: 60_000 })("connects and disconnects", (it) => {
  const summary = (all: ReadonlyArray<{ connected: boolean; clientId: string; connections?: number }>) =>
    all.map(({ clientId, connected, connections }) => `${connected ? "+" : "-"}${clientId} ${connections}`)

  it.effect("are recorded in order, with how many connections the device has then", () =>
    Effect.gen(function* () {
      const device = Support.devicesA[6]!
      const before = Date.now() * 1000
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* client(device, { clientId: "first" })
          yield* Effect.scoped(client(device, { clientId: "second" }))
          yield* told(device, 3)
        })
      )
      const all = yield* told(device, 4)
      assert.deepStrictEqual(summary(all), ["+first 1", "+second 2", "-second 1", "-first 0"])
      assert.deepStrictEqual(
        all.map(({ connectionId }) => connectionId),
        [all[0]!, all[1]!, all[1]!, all[0]!].map(({ connectionId }) => connectionId)
      )
      assert.notStrictEqual(all[0]!.connectionId, all[1]!.connectionId)
      for (const { at, tenantId } of all) {
        assert.strictEqual(tenantId, device.org)
        assert.isTrue(at >= before && at < before + 20_000_000)
      }
    })
  )

  it.effect("do not let a connection that takes over look like an end", () =>
    Effect.gen(function* () {
      const device = Support.devicesA[7]!
      yield* client(device, { clientId: "same" })
      yield* client(device, { clientId: "same" })
      const all = yield* told(device, 3)
      assert.deepStrictEqual(summary(all), ["+same 1", "-same 1", "+same 1"])
      assert.strictEqual(all[0]!.connectionId, all[1]!.connectionId)
      assert.notStrictEqual(all[1]!.connectionId, all[2]!.connectionId)
      assert.strictEqual(all[1]!.reason, "connected again under the same client id")
    })
  )

  it.effect("wait while the log is away, and hinder nobody", () =>
    Effect.gen(function* () {
      const faults = yield* Faults
      const device = Support.devicesA[8]!
      faults.bus = "unavailable"
      yield* Effect.scoped(client(device, { clientId: "meanwhile" }))
      yield* Effect.sleep(100)
      assert.deepStrictEqual(yield* connectionsOf(device), [])
      faults.bus = "none"
      assert.deepStrictEqual(summary(yield* told(device, 2)), ["+meanwhile 1", "-meanwhile 0"])
    })
  )

  it.effect("are recorded also of connections that the platform's stop has ended", () =>
    Effect.gen(function* () {
      const device = Support.devicesA[9]!
      const scope = yield* Scope.make()
      const around = yield* Layer.buildWithScope(Layer.fresh(DeviceConnections.layer), scope)
      const { port } = yield* listen.pipe(
        Effect.provideContext(around),
        Scope.provide(scope),
        Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ MQTT_PORT: "0", MQTTS_PORT: "off" })))
      )
      const one = new RawClient(port)
      one.write(connectPacket(device, { clientId: "stopped" }))
      yield* until("CONNACK", () => one.received.length === 4)
      yield* Scope.close(scope, Exit.void)
      const all = yield* connectionsOf(device)
      assert.deepStrictEqual(summary(all), ["+stopped 1", "-stopped 0"])
      assert.strictEqual(all[1]!.reason, "the platform was shut down")
      one.socket.destroy()
    })
  )
})
