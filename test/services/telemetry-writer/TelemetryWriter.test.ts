import { assert, layer } from "@effect/vitest"
import type { NormalizedMessage } from "@argusiq/domain/readings.ts"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { Bus, type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { rawWriter, writer } from "@argusiq/telemetry-writer/TelemetryWriter.ts"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { insertOrganization } from "../../layers/profiles/registry.ts"
import { normalizedMessage } from "../../layers/telemetry/messages.ts"
import { testDatabase } from "../../support/postgres.ts"
import { awaitRecords, rawRecord, testBus } from "../dispatcher/topics.ts"

const running = Layer.effectDiscard(
  Effect.flatMap(Effect.all([writer, rawWriter]), (consumers) =>
    Effect.forEach(consumers, (consumer) => Effect.forkScoped(runConsumer(consumer)))
  )
)
const world = running.pipe(
  Layer.provideMerge(Layer.mergeAll(TelemetryStore.layer, testBus)),
  Layer.provideMerge(testDatabase)
)

const normalizedRecord = (message: NormalizedMessage): BusRecord => ({
  topic: Topics.normalized,
  key: message.deviceId,
  value: Buffer.from(JSON.stringify(message)),
  headers: { "message-id": message.messageId, "received-at": String(message.receivedAt), source: "mqtt" }
})

const awaitCount = Effect.fnUntraced(function* (
  table: "telemetry_frames" | "telemetry_raw",
  tenantId: string,
  count: number
) {
  const sql = yield* PipelineSql
  const until = Date.now() + 30_000
  while (true) {
    const [row] = yield* sql<{ count: number }>`select count(*)::int from ${sql(table)} where tenant_id = ${tenantId}`
    if (row!.count >= count) return row!.count
    if (Date.now() > until) assert.fail(`${table}: ${row!.count} of ${count} rows after 30 s`)
    yield* Effect.sleep(20)
  }
})

layer(world, { excludeTestServices: true })("the telemetry writer", (it) => {
  it.effect(
    "stores each message once however often it stands in the topic, and dead-letters the one that cannot be stored",
    () =>
      Effect.gen(function* () {
        const bus = yield* Bus
        const sql = yield* PipelineSql
        const tenantId = yield* insertOrganization()
        const deviceIds = Array.from({ length: 30 }, () => randomUUID())
        const receivedAt = Date.now() * 1_000
        const messages = Array.from({ length: 600 }, (_, index) =>
          normalizedMessage({ deviceId: deviceIds[index % 30]!, tenantId, receivedAt: receivedAt + index })
        )
        const records = messages.map(normalizedRecord)
        const noTenant = normalizedRecord(
          normalizedMessage({ deviceId: randomUUID(), tenantId: randomUUID(), receivedAt })
        )
        const noJson = { ...records[1]!, value: Buffer.from("no json") }
        yield* bus.publish([...records.slice(0, 300), noTenant, noJson, ...records.slice(200), ...records])
        assert.strictEqual(yield* awaitCount("telemetry_frames", tenantId, 600), 600)
        const letters = yield* awaitRecords(deadLetterTopic(Topics.normalized), 2)
        // A batch that is halved to find the one to blame may tell of its other dead letters again, under the same ids.
        const reasons = new Map(letters.map(({ headers }) => [headers["dlq-id"], headers["dlq-reason"]]))
        assert.sameMembers([...reasons.values()], ["Unstorable", "Undecodable"])
        const last = normalizedRecord(
          normalizedMessage({ deviceId: deviceIds[0]!, tenantId, receivedAt: receivedAt + 1_000 })
        )
        yield* bus.publish([last])
        assert.strictEqual(yield* awaitCount("telemetry_frames", tenantId, 601), 601)
        const totals = yield* sql<{ device_id: string; total: number }>`select device_id, messages_total::int as total
        from device_status where tenant_id = ${tenantId}`
        for (const { device_id, total } of totals) assert.strictEqual(total, device_id === deviceIds[0] ? 21 : 20)
      })
  )

  it.effect(
    "stores every child's reading once, and ends the transaction of each gateway's message, of 2,000 children too",
    () =>
      Effect.gen(function* () {
        const bus = yield* Bus
        const sql = yield* PipelineSql
        const tenantId = yield* insertOrganization()
        const gatewayId = randomUUID()
        const children = Array.from({ length: 2_000 }, () => randomUUID())
        const receivedAt = Date.now() * 1_000
        const messages = [2_000, 1, 2_000, 2_000, 0].map((count, sequence) => {
          const message = normalizedMessage({ deviceId: gatewayId, tenantId, receivedAt: receivedAt + sequence })
          const readings = children.slice(0, count).map((deviceId) => ({
            ...message.readings[0]!,
            readingId: randomUUID(),
            deviceId,
            sourceGatewayId: gatewayId,
            metrics: { sequence }
          }))
          return { ...message, correlationId: `c${sequence}`, readings } as unknown as NormalizedMessage // ids are branded
        })
        const records = messages.map(normalizedRecord)
        yield* bus.publish([...records, ...records])
        const states = sql<{ correlation: string; processed: number; status: string }>`
        select correlation_id as correlation, processed_devices as processed, status from telemetry_transactions
        where gateway_device_id = ${gatewayId} order by correlation_id`
        const until = Date.now() + 30_000
        while ((yield* states).length < 5) {
          if (Date.now() > until) assert.fail("not all transactions ended")
          yield* Effect.sleep(20)
        }
        assert.deepStrictEqual(
          (yield* states).map(({ correlation, processed, status }) => [correlation, processed, status]),
          [
            ["c0", 2_000, "completed"],
            ["c1", 1, "completed"],
            ["c2", 2_000, "completed"],
            ["c3", 2_000, "completed"],
            ["c4", 0, "completed"]
          ]
        )
        assert.strictEqual(yield* awaitCount("telemetry_frames", tenantId, 6_001), 6_001)
        const latest = yield* sql<{ sequence: number; count: number }>`
        select (metrics ->> 'sequence')::int as sequence, count(*)::int as count from entity_latest
        where tenant_id = ${tenantId} group by 1`
        assert.deepStrictEqual(latest, [{ sequence: 3, count: 2_000 }])
        const [gateway] = yield* sql<{ messages: number }>`
        select messages_total::int as messages from device_status where device_id = ${gatewayId}`
        assert.strictEqual(gateway!.messages, 4)
      })
  )

  it.effect("copies what the bridge accepted and refused, and not what later stages refused", () =>
    Effect.gen(function* () {
      const bus = yield* Bus
      const sql = yield* PipelineSql
      const tenantId = yield* insertOrganization()
      const accepted = rawRecord({ tenantId, deviceId: randomUUID(), payload: Buffer.from([1, 2, 255]) })
      const refusedHeaders = { "dlq-stage": "bridge", "dlq-reason": "UnknownDevice", "dlq-message": "no\0such device" }
      const refused = rawRecord({
        tenantId,
        deviceId: "no uuid",
        headers: { ...refusedHeaders, "payload-bytes": "9000000" }
      })
      const later = rawRecord({
        tenantId,
        deviceId: randomUUID(),
        headers: { ...refusedHeaders, "dlq-stage": "dispatcher" }
      })
      const nameless = rawRecord({ tenantId, deviceId: randomUUID(), headers: { "message-id": "none" } })
      yield* bus.publish([accepted, accepted, nameless])
      yield* bus.publish([later, refused].map((record) => ({ ...record, topic: deadLetterTopic(Topics.raw) })))
      yield* awaitCount("telemetry_raw", tenantId, 2)
      const letters = yield* awaitRecords(deadLetterTopic(Topics.raw), 3)
      assert.include(
        letters.map(({ headers }) => headers["dlq-group"]),
        "argusiq.telemetry-writer.raw"
      )
      const rows =
        yield* sql`select message_id, device_id, size, octet_length(payload) as kept, topic, error, error_reason
        from telemetry_raw where tenant_id = ${tenantId} order by size`
      assert.deepStrictEqual(rows as ReadonlyArray<object>, [
        {
          message_id: accepted.headers["message-id"],
          device_id: accepted.key,
          size: 3,
          kept: 3,
          topic: Topics.raw,
          error: null,
          error_reason: null
        },
        {
          message_id: refused.headers["message-id"],
          device_id: null,
          size: 9_000_000,
          kept: refused.value.byteLength,
          topic: deadLetterTopic(Topics.raw),
          error: "UnknownDevice",
          error_reason: "no\uFFFDsuch device"
        }
      ])
    })
  )
})
