import { deadLetterRecord } from "@argusiq/domain/dead-letter.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import { replayCopy } from "@argusiq/domain/replay.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { DeadLetters } from "@argusiq/layers/dead-letters/DeadLetters.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { insertGateways } from "../../services/chunker/messages.ts"
import { message } from "../../services/jobs/pipelineWorld.ts"
import { insertEndpoint, insertGateway, insertOrganization, publishVersion } from "../profiles/registry.ts"
import {
  messageId,
  readerOf,
  statesOf,
  traceOf,
  traceWhen,
  traceWorld,
  watchedBoiler,
  whileRunning
} from "./traceWorld.ts"

const now = () => Date.now() * 1_000
const publish = (...records: ReadonlyArray<ReturnType<typeof message>>) =>
  Effect.flatMap(Bus, (bus) => bus.publish(records))

layer(traceWorld, { excludeTestServices: true })("the trace of a message", (it) => {
  it.effect("tells of one that went its way: where it lay, by which version, and what was stored", () =>
    Effect.gen(function* () {
      const device = yield* insertEndpoint()
      const at = now()
      const id = messageId(at)
      const trace = yield* whileRunning()(
        Effect.andThen(
          publish(message(device, id, at, { metrics: { t: 21.5, on: true } })),
          traceWhen(readerOf(device), id, (trace) => trace.status === "stored" && trace.stages[0]?.offset !== null)
        )
      )
      assert.deepInclude(trace, {
        messageId: id,
        summary: "It was processed: 1 reading stored.",
        source: "mqtt",
        deviceId: device.deviceId,
        readingCount: 1,
        route: { processingMode: "endpoint", deviceTypeId: device.deviceTypeId, typeVersion: 1 },
        deadLetters: [],
        transaction: null,
        duplicateOf: null
      })
      assert.deepStrictEqual(trace.readings[0]?.metrics, { t: 21.5, on: true })
      assert.strictEqual(trace.receivedAt, new Date(at / 1_000).toISOString())
      assert.deepInclude(statesOf(trace), { dispatcher: "done", normalizer: "done", "telemetry-writer": "done" })
      assert.strictEqual(trace.raw?.topic, Topics.raw)
      for (const { offset, topic } of trace.stages) assert.isNotNull(offset, topic)

      const stranger = { tenantId: yield* insertOrganization() }
      for (const isPlatformAdmin of [false, true]) {
        const refused = yield* Effect.flip(traceOf(readerOf(stranger, isPlatformAdmin), id))
        assert.deepInclude(refused, { _tag: "NotRegistered", what: "message" })
      }
      assert.deepInclude(yield* Effect.flip(traceOf(readerOf(device), messageId(at))), { _tag: "NotRegistered" })
      assert.deepInclude(yield* Effect.flip(traceOf(readerOf(device), randomUUID())), { _tag: "NotRegistered" })
    })
  )

  it.effect("names the children that a gateway's message was taken apart into, and its transaction", () =>
    Effect.gen(function* () {
      const gateway = yield* insertGateway()
      const at = now()
      const id = messageId(at)
      const payload = {
        correlationId: "tour 7",
        devices: [
          { id: "a", metrics: { t: 1 } },
          { id: "b", metrics: { t: 2 } }
        ]
      }
      const trace = yield* whileRunning()(
        Effect.andThen(
          publish(message(gateway, id, at, payload)),
          traceWhen(readerOf(gateway), id, ({ status }) => status === "stored")
        )
      )
      assert.deepInclude(trace.transaction, { id, correlationId: "tour 7", status: "completed", processedDevices: 2 })
      assert.strictEqual(new Set(trace.readings.map(({ deviceId }) => deviceId)).size, 2)
      assert.deepInclude(statesOf(trace), { dispatcher: "done", demux: "done", normalizer: "done" })
      assert.deepStrictEqual(trace.readings.map(({ metrics }) => metrics["t"]).toSorted(), [1, 2])
    })
  )

  it.effect("leads from a chunk to the whole and back to all of its chunks; before the last one came it says so", () =>
    Effect.gen(function* () {
      const [gateway] = yield* insertGateways([randomUUID()])
      const reader = readerOf(gateway!)
      const at = now()
      const ids = [1, 2, 3].map((part) => messageId(at + part))
      const chunk = (part: number) => {
        const data = { devices: [{ beaconId: `b${part}`, metrics: { rssi: -part } }] }
        const payload = { correlationId: "c", seq: part, total: 3, data }
        return message(gateway!, ids[part - 1]!, at + part, payload)
      }
      yield* whileRunning()(
        Effect.gen(function* () {
          yield* publish(chunk(1), chunk(2))
          const waiting = yield* traceWhen(reader, ids[0]!, ({ status }) => status === "waiting-for-chunks")
          assert.deepInclude(waiting.transaction, { status: "pending", chunkCount: 3 })
          yield* publish(chunk(3))
          const part = yield* traceWhen(reader, ids[1]!, ({ status }) => status === "stored")
          assert.strictEqual(part.readingCount, 3)
          // The audit copy, which tells the chunks, is made by a group of its own.
          const whole = yield* traceWhen(reader, part.transaction!.id, ({ chunks }) => chunks.length === 3)
          assert.strictEqual(whole.status, "stored")
          assert.deepStrictEqual(
            whole.chunks.toSorted((a, b) => a.sequence - b.sequence),
            ids.map((messageId, index) => ({ messageId, sequence: index + 1 }))
          )
          assert.deepStrictEqual(whole.readings, part.readings)
        })
      )
    })
  )

  it.effect("says why a message failed, that it is being retried, and what came of the retry", () =>
    Effect.gen(function* () {
      const device = yield* insertEndpoint()
      const reader = readerOf(device)
      const at = now()
      const id = messageId(at)
      const actor = { ...reader, userId: undefined }
      const failed = yield* whileRunning()(
        Effect.andThen(
          publish(message(device, id, at, "not json")),
          traceWhen(reader, id, ({ deadLetters }) => deadLetters.length > 0)
        )
      )
      assert.strictEqual(failed.status, "failed")
      assert.include(failed.summary, "argusiq.normalizer could not process it")
      assert.deepInclude(statesOf(failed), {
        dispatcher: "done",
        normalizer: "failed",
        "telemetry-writer": "not-reached"
      })
      yield* publishVersion({
        ...device,
        number: 2,
        effectiveAt: Date.now() - 1_000,
        config: { processingMode: "endpoint", protocol: { kind: "raw" } }
      }).pipe(Effect.ignore)
      const letters = yield* DeadLetters
      yield* letters.retry(actor, { ids: [failed.deadLetters[0]!.id] })
      assert.strictEqual((yield* traceOf(reader, id)).status, "retrying")
      const again = yield* whileRunning()(
        traceWhen(
          reader,
          id,
          ({ deadLetters }) => deadLetters[0]!.retries === 1 && deadLetters[0]!.state !== "retrying"
        )
      )
      assert.strictEqual(again.deadLetters[0]!.id, failed.deadLetters[0]!.id)
    })
  )

  it.effect("knows a duplicate by its bytes and leads to the message that its readings are stored with", () =>
    Effect.gen(function* () {
      const device = yield* insertEndpoint()
      const at = now()
      const [first, second] = [messageId(at), messageId(at + 500_000)]
      const payload = { timestamp: new Date(at / 1_000).toISOString(), metrics: { t: 4 } }
      const trace = yield* whileRunning()(
        Effect.andThen(
          publish(message(device, first, at, payload), message(device, second, at + 500_000, payload)),
          traceWhen(readerOf(device), second, ({ status }) => status === "duplicate")
        )
      )
      assert.strictEqual(trace.duplicateOf, first)
      assert.include(trace.summary, first)
      assert.strictEqual((yield* traceOf(readerOf(device), first)).status, "stored")
    })
  )

  it.effect("tells of a replayed message what it told before, and which job replayed it", () =>
    Effect.gen(function* () {
      const device = yield* insertEndpoint()
      const sql = yield* OwnerSql
      const at = now()
      const id = messageId(at)
      const job = randomUUID()
      yield* whileRunning()(
        Effect.gen(function* () {
          yield* publish(message(device, id, at, { metrics: { t: 1 } }))
          const before = yield* traceWhen(readerOf(device), id, ({ status }) => status === "stored")
          const parameters = {
            from: at - 1,
            to: at + 1,
            source: "raw",
            targetStream: Topics.raw,
            sideEffects: false
          } as const
          yield* sql`insert into jobs (id, tenant_id, kind, parameters, state)
            values (${job}, ${device.tenantId}, 'replay', ${sql.json(parameters)}, 'completed')`
          const copy = {
            messageId: id,
            tenantId: device.tenantId,
            deviceId: device.deviceId,
            receivedAt: at,
            payload: Buffer.from(JSON.stringify({ metrics: { t: 1 } })),
            contentType: "application/json",
            source: "mqtt",
            mqttTopic: null,
            clientId: null
          }
          yield* publish(replayCopy(copy, job, parameters))
          const later = now() + 1_000
          const marker = messageId(later)
          yield* publish(message(device, marker, later, { metrics: { t: 2 } }))
          yield* traceWhen(readerOf(device), marker, ({ status }) => status === "stored")
          const after = yield* traceOf(readerOf(device), id)
          assert.deepStrictEqual(after.jobs, [{ id: job, kind: "replay", state: "completed" }])
          assert.deepStrictEqual(after.readings, before.readings)
          assert.strictEqual(after.status, "stored")
        })
      )
    })
  )

  it.effect("follows a reading to the asset, the alarm, its event and the activity that were made of it", () =>
    Effect.gen(function* () {
      const device = yield* insertEndpoint()
      const { deviceId } = device
      const { asset, ruleId } = yield* watchedBoiler(device)
      const at = now()
      const id = messageId(at)
      const trace = yield* whileRunning()(
        Effect.andThen(
          publish(message(device, id, at, { metrics: { t: 95 } })),
          traceWhen(
            readerOf(device),
            id,
            ({ activities, assets }) => activities.length > 0 && (assets[0]?.reading ?? null) !== null
          )
        )
      )
      assert.strictEqual(trace.assets[0]?.assetId, asset)
      assert.deepInclude(trace.assets[0]!.reading!.metrics, { t: 95 })
      assert.deepInclude(trace.alarms[0], { ruleId, entityType: "device", entityId: deviceId })
      assert.strictEqual(trace.events[0]?.alarmId, trace.alarms[0]?.id)
      assert.deepInclude(trace.activities[0], { name: "Look at the boiler", state: "pending" })
    })
  )

  it.effect("shows what nobody knows the sender of to those who operate the platform, and to nobody else", () =>
    Effect.gen(function* () {
      const tenantId = yield* insertOrganization()
      const at = now()
      const id = messageId(at)
      const record = {
        topic: Topics.raw,
        key: id,
        value: Buffer.from("{}"),
        headers: { "message-id": id, "received-at": String(at), source: "mqtt", "content-type": "application/json" }
      }
      const error = new Poison({ reason: "UnknownDevice", message: 'No device "x" exists.' })
      yield* publish(deadLetterRecord({ record, error, group: "argusiq.bridge", stage: "bridge", failedAt: at }))
      const operator = readerOf({ tenantId }, true)
      // Nothing has stored it: it is found in the log.
      assert.strictEqual((yield* traceOf(operator, id)).raw?.topic, "telemetry.raw.v1.dlq")
      const trace = yield* whileRunning()(
        traceWhen(operator, id, ({ deadLetters, status }) => status === "refused" && deadLetters.length === 1)
      )
      assert.include(trace.summary, 'The bridge refused it (UnknownDevice): No device "x" exists.')
      assert.strictEqual(trace.deviceId, null)
      assert.deepInclude(yield* Effect.flip(traceOf(readerOf({ tenantId }), id)), { _tag: "NotRegistered" })
    })
  )

  it.effect(
    "proves by positions that a message is on its way: before anything is stored, and while the writer stands still",
    () =>
      Effect.gen(function* () {
        const device = yield* insertEndpoint()
        const reader = readerOf(device)
        const at = now()
        const id = messageId(at)
        yield* publish(message(device, id, at, { metrics: { t: 5 } }))
        const fresh = yield* traceOf(reader, id)
        assert.strictEqual(fresh.status, "on-its-way")
        assert.deepInclude(statesOf(fresh), { dispatcher: "waiting", normalizer: "not-reached" })
        assert.deepInclude(yield* Effect.flip(traceOf(readerOf({ tenantId: yield* insertOrganization() }), id)), {
          _tag: "NotRegistered"
        })
        const held = yield* whileRunning("writer")(
          traceWhen(reader, id, (trace) => statesOf(trace)["telemetry-writer"] === "waiting")
        )
        assert.strictEqual(held.status, "on-its-way")
        assert.include(held.summary, "argusiq.telemetry-writer has not come to it on telemetry.normalized.v1")
        const writer = held.stages.find(({ group }) => group === "argusiq.telemetry-writer")!
        assert.isAtLeast(Number(writer.offset), Number(writer.next))
        assert.deepInclude(statesOf(held), { dispatcher: "done", normalizer: "done" })
        const after = yield* whileRunning()(traceWhen(reader, id, ({ status }) => status === "stored"))
        assert.strictEqual(after.readingCount, 1)
      })
  )
})
