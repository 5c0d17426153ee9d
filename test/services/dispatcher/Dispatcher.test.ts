import { assert, layer } from "@effect/vitest"
import { dispatcher } from "@argusiq/dispatcher/Dispatcher.ts"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { insertDevice, insertDeviceType, insertEndpoint, publishVersion } from "../../layers/profiles/registry.ts"
import { testDatabase } from "../../support/postgres.ts"
import { awaitRecords, rawRecord, recordsOf, testBus } from "./topics.ts"

const running = Layer.effectDiscard(Effect.flatMap(dispatcher, (consumer) => Effect.forkScoped(runConsumer(consumer))))

const world = running.pipe(
  Layer.provideMerge(Layer.mergeAll(ProfileCache.layer({ size: 1_000 }), testBus)),
  Layer.provideMerge(testDatabase)
)

/** The dead letters and the dispatched records of the messages, by message id. */
const outcomes = Effect.fnUntraced(function* (messageIds: ReadonlyArray<string>) {
  const until = Date.now() + 30_000
  while (true) {
    const all = [...(yield* recordsOf(Topics.endpoint)), ...(yield* recordsOf(deadLetterTopic(Topics.raw)))]
    const byId = new Map(all.map((record) => [record.headers["message-id"]!, record]))
    if (messageIds.every((id) => byId.has(id))) return messageIds.map((id) => byId.get(id)!)
    if (Date.now() > until) assert.fail("not all messages came through")
    yield* Effect.sleep(20)
  }
})

layer(world, { excludeTestServices: true })("the dispatcher", (it) => {
  it.effect("stamps type and version and forwards key, bytes and headers untouched, in order", () =>
    Effect.gen(function* () {
      const bus = yield* Bus
      const device = yield* insertEndpoint()
      const payloads = [Buffer.from([0xff, 0x00, 0x7b]), Buffer.from("{"), Buffer.alloc(0), Buffer.alloc(100_000, 7)]
      const sent = payloads.map((payload) =>
        rawRecord({ ...device, payload, headers: { "client-id": "\0x", traceparent: "00-a-b-01" } })
      )
      yield* bus.publish(sent)
      const got = (yield* awaitRecords(Topics.endpoint, sent.length)).filter(({ key }) => key === device.deviceId)
      assert.deepStrictEqual(
        got.map(({ headers, key, value }) => ({ key, value: [...value], headers })),
        sent.map(({ headers, key, value }) => ({
          key,
          value: [...value],
          headers: { ...headers, "device-type-id": device.deviceTypeId, "type-version": "1" }
        }))
      )
    })
  )

  it.effect("chooses the version that was effective at received-at, the first one for everything earlier", () =>
    Effect.gen(function* () {
      const bus = yield* Bus
      const device = yield* insertEndpoint()
      const { deviceTypeId, tenantId } = device
      const effectiveAt = Date.now() - 60_000
      const config = { processingMode: "endpoint" }
      yield* publishVersion({ tenantId, deviceTypeId, number: 2, effectiveAt, config })
      const at = effectiveAt * 1_000
      const cases: ReadonlyArray<readonly [number, Readonly<Record<string, string>>, string]> = [
        [at - 1, {}, "1"],
        [at, {}, "2"],
        [at + 1, {}, "2"],
        [0, {}, "1"],
        [at - 1, { "config-at": String(at) }, "2"],
        [at, { "config-at": String(at - 1), "type-version": "9", "retry-group": "argusiq.dispatcher" }, "1"]
      ]
      const sent = cases.map(([receivedAt, headers]) => rawRecord({ ...device, receivedAt, headers }))
      yield* bus.publish(sent)
      const got = yield* outcomes(sent.map(({ headers }) => headers["message-id"]!))
      assert.deepStrictEqual(
        got.map(({ headers }) => headers["type-version"]),
        cases.map(([, , version]) => version)
      )
      assert.isUndefined(got.at(-1)!.headers["retry-group"])
    })
  )

  it.effect("applies a changed type to running traffic two seconds after its publication, without a restart", () =>
    Effect.gen(function* () {
      const bus = yield* Bus
      const device = yield* insertEndpoint()
      const { deviceTypeId, tenantId } = device
      const first = rawRecord(device)
      yield* bus.publish([first])
      yield* outcomes([first.headers["message-id"]!])
      const effectiveAt = Date.now() + 2_000
      yield* publishVersion({ tenantId, deviceTypeId, number: 2, effectiveAt, config: { processingMode: "endpoint" } })
      const ids: Array<string> = []
      const until = Date.now() + 2_600
      while (Date.now() < until) {
        const record = rawRecord(device)
        ids.push(record.headers["message-id"]!)
        yield* bus.publish([record])
        yield* Effect.sleep(25)
      }
      const got = yield* outcomes(ids)
      for (const { headers } of got) {
        const expected = Number(headers["received-at"]) >= effectiveAt * 1_000 ? "2" : "1"
        assert.strictEqual(headers["type-version"], expected)
      }
      assert.isTrue(got.some(({ headers }) => headers["type-version"] === "2"))
    })
  )

  it.effect("dead-letters what it cannot route, with the reason, and its neighbours go on", () =>
    Effect.gen(function* () {
      const bus = yield* Bus
      const owner = yield* OwnerSql
      const device = yield* insertEndpoint()
      const { tenantId } = device
      const foreign = yield* insertEndpoint({ processingMode: "of another release" })
      const typeless = yield* insertDevice({ tenantId, deviceTypeId: yield* insertDeviceType(tenantId) })
      const deleted = yield* insertDevice({ tenantId, deviceTypeId: device.deviceTypeId })
      yield* owner`delete from devices where id = ${deleted}`
      const sent = [
        rawRecord(device),
        rawRecord({ tenantId, deviceId: deleted }),
        rawRecord({ tenantId, deviceId: randomUUID() }),
        rawRecord({ tenantId, deviceId: "no uuid" }),
        rawRecord(foreign),
        rawRecord({ tenantId, deviceId: typeless }),
        rawRecord({ ...device, tenantId: foreign.tenantId }),
        rawRecord({ ...device, headers: { "received-at": "yesterday" } }),
        rawRecord(device)
      ]
      yield* bus.publish(sent)
      const got = yield* outcomes(sent.map(({ headers }) => headers["message-id"]!))
      assert.deepStrictEqual(
        got.map(({ headers }) => headers["dlq-reason"]),
        [
          undefined,
          "UnknownDevice",
          "UnknownDevice",
          "UnknownDevice",
          "UnknownProcessingMode",
          "UnknownProcessingMode",
          "TenantMismatch",
          "Undecodable",
          undefined
        ]
      )
      assert.strictEqual(got[1]!.headers["dlq-stage"], "dispatcher")
      assert.match(got[4]!.headers["dlq-message"]!, /version 1 of device type/)
    })
  )
})
