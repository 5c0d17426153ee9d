import { assert, layer } from "@effect/vitest"
import type { NormalizedMessage } from "@argusiq/domain/readings.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { allSafeguards, Safeguards } from "@argusiq/layers/Safeguards.ts"
import { type RawMessage, TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Context, Effect, Layer } from "effect"
import { randomInt, randomUUID } from "node:crypto"
import { testDatabase } from "../../support/postgres.ts"
import { insertOrganization } from "../profiles/registry.ts"
import { normalizedMessage } from "./messages.ts"
import { randomFrom } from "../../support/random.ts"

const now = 1_763_725_301_123_457
const second = 1_000_000

const devicesState = Effect.fnUntraced(function* (deviceIds: ReadonlyArray<string>) {
  const sql = yield* PipelineSql
  const ids = sql`any(${deviceIds}::text[]::uuid[])`
  const frames =
    yield* sql`select md5(string_agg(frame::text, ',' order by entity_id, ts, reading_id)) as hash, count(*)::int
    from telemetry_frames frame where entity_id = ${ids}`
  const latest = yield* sql`select entity_id, metrics, newest_ts, older, quality from entity_latest
    where entity_id = ${ids} order by entity_id`
  const status =
    yield* sql`select device_id, last_seen_at, messages_total from device_status where device_id = ${ids} order by 1`
  return { frames, latest, status }
})

interface LatestRow {
  readonly metrics: Readonly<Record<string, unknown>>
  readonly newest: number
  readonly older: Readonly<Record<string, number>> | null
  readonly quality: Readonly<Record<string, string>> | null
}

/** Each metric with its value, its instant and, where it is not good, its quality. */
const latestOf = Effect.fnUntraced(function* (deviceId: string) {
  const sql = yield* PipelineSql
  const [row] = yield* sql<LatestRow>`select metrics, older, quality,
    (extract(epoch from newest_ts) * 1000000)::float8 as newest from entity_latest where entity_id = ${deviceId}`
  if (row === undefined) return undefined
  for (const ts of Object.values(row.older ?? {})) assert.isBelow(ts, row.newest)
  return Object.fromEntries(
    Object.entries(row.metrics).map(([key, v]) => {
      const q = row.quality?.[key]
      return [key, { v, ts: row.older?.[key] ?? row.newest, ...(q !== undefined && { q }) }]
    })
  )
})

const statusOf = Effect.fnUntraced(function* (deviceId: string) {
  const sql = yield* PipelineSql
  const rows = yield* sql<{ messages: number; seen: number }>`select messages_total::int as messages,
    (extract(epoch from last_seen_at) * 1000000)::float8 as seen from device_status where device_id = ${deviceId}`
  return rows[0]
})

const rawMessage = (options: Partial<RawMessage>): RawMessage => ({
  messageId: randomUUID(),
  tenantId: null,
  deviceId: null,
  receivedAt: now,
  payload: Buffer.from("{}"),
  size: 2,
  contentType: "application/json",
  source: "mqtt",
  mqttTopic: null,
  clientId: null,
  topic: "telemetry.raw.v1",
  partition: 0,
  offset: 1n,
  error: null,
  errorReason: null,
  ...options
})

layer(Layer.provideMerge(TelemetryStore.layer, testDatabase), { excludeTestServices: true })("TelemetryStore", (it) => {
  it.effect("stores a reading to the microsecond with its values, qualities and metadata", () =>
    Effect.gen(function* () {
      const store = yield* TelemetryStore
      const sql = yield* PipelineSql
      const tenantId = yield* insertOrganization()
      for (const ts of [now, now + 1, 558_654_517_503_804, 2_222_201_512_762_862, -now - 1, 0, 4_102_444_799_999_999]) {
        const deviceId = randomUUID()
        const metrics = {
          temperature: 21.5,
          door: true,
          state: 'äöü \\u0000 "q"',
          nested: { a: [1, null] },
          constructor: 1
        }
        const message = normalizedMessage({
          deviceId,
          tenantId,
          receivedAt: now,
          ts,
          metrics,
          quality: { temperature: "bad" },
          metadata: { site: "x" }
        })
        yield* store.storeReadings([message])
        const rows = yield* sql<object>`select (extract(epoch from ts) * 1000000)::numeric::text as ts,
          (extract(epoch from received_at) * 1000000)::numeric::text as received_at, reading_id, message_id, tenant_id, entity_type,
          source_device_id, config_version, metrics, quality, metadata from telemetry_frames where entity_id = ${deviceId}`
        assert.lengthOf(rows, 1)
        const row = rows[0] as Record<string, unknown>
        assert.strictEqual(Number(row["ts"]), ts)
        assert.strictEqual(Number(row["received_at"]), now)
        assert.deepInclude(row, {
          reading_id: message.readings[0]!.readingId,
          message_id: message.messageId,
          tenant_id: tenantId,
          entity_type: "device",
          source_device_id: deviceId,
          config_version: 1,
          metrics,
          quality: { temperature: "bad" },
          metadata: { site: "x" }
        })
      }
    })
  )

  it.effect("changes nothing when batches come again, twice, in parts and in another grouping", () =>
    Effect.gen(function* () {
      const store = yield* TelemetryStore
      const tenantId = yield* insertOrganization()
      const deviceIds = Array.from({ length: 20 }, () => randomUUID())
      const messages: Array<NormalizedMessage> = []
      for (let index = 0; index < 400; index++) {
        const deviceId = deviceIds[index % deviceIds.length]!
        const receivedAt = now + index * 1_000
        // Some late, some of one instant with the one before, some with metrics of their own.
        const ts = index % 7 === 0 ? receivedAt - 60 * second : index % 5 === 0 ? now : receivedAt
        const metrics = { temperature: index, [`of${index % 3}`]: index }
        messages.push(normalizedMessage({ deviceId, tenantId, receivedAt, ts, metrics }))
      }
      const batches = (size: number) =>
        Effect.gen(function* () {
          for (let from = 0; from < messages.length; from += size) {
            yield* store.storeReadings(messages.slice(from, from + size))
          }
        })
      yield* batches(50)
      const once = yield* devicesState(deviceIds)
      assert.strictEqual((once.frames[0] as { count: number }).count, 400)
      assert.isTrue(
        (once.status as ReadonlyArray<{ messages_total: bigint }>).every((row) => row.messages_total === 20n)
      )
      yield* batches(50)
      yield* batches(33)
      yield* store.storeReadings([...messages, ...messages])
      assert.deepStrictEqual(yield* devicesState(deviceIds), once)
    })
  )

  it.effect("counts a message once when only a part of its readings is new", () =>
    Effect.gen(function* () {
      const store = yield* TelemetryStore
      const tenantId = yield* insertOrganization()
      const deviceId = randomUUID()
      const known = normalizedMessage({ deviceId, tenantId, receivedAt: now })
      const fresh = normalizedMessage({ deviceId, tenantId, receivedAt: now + 5 })
      yield* store.storeReadings([known])
      const second = normalizedMessage({ deviceId, tenantId, receivedAt: now + 5 }).readings
      yield* store.storeReadings([known, fresh, { ...fresh, readings: [...fresh.readings, ...second] }])
      assert.deepStrictEqual(yield* statusOf(deviceId), { messages: 2, seen: now + 5 })
    })
  )

  it.effect("keeps the newest value of each metric, whatever the order of arrival", () =>
    Effect.gen(function* () {
      const store = yield* TelemetryStore
      const tenantId = yield* insertOrganization()
      const at = (offset: number, metrics: object) => ({ tenantId, receivedAt: now, ts: now + offset, metrics })
      const steps = [at(10, { a: 1, b: 1 }), at(5, { a: 0, c: 5 }), at(20, { b: 2 }), at(15, { a: 3, b: 0, d: 4 })]
      const expected = {
        a: { v: 3, ts: now + 15 },
        b: { v: 2, ts: now + 20 },
        c: { v: 5, ts: now + 5 },
        d: { v: 4, ts: now + 15 }
      }
      const orders = [
        [0, 1, 2, 3],
        [3, 2, 1, 0],
        [1, 3, 0, 2],
        [2, 0, 3, 1]
      ]
      for (const order of orders) {
        const oneByOne = randomUUID()
        const together = randomUUID()
        for (const index of order)
          yield* store.storeReadings([normalizedMessage({ ...steps[index]!, deviceId: oneByOne })])
        yield* store.storeReadings(order.map((index) => normalizedMessage({ ...steps[index]!, deviceId: together })))
        assert.deepStrictEqual(yield* latestOf(oneByOne), expected)
        assert.deepStrictEqual(yield* latestOf(together), expected)
      }
    })
  )

  it.effect(
    "holds of each metric what a fold over all readings holds, whatever comes together and in which order",
    () =>
      Effect.gen(function* () {
        const store = yield* TelemetryStore
        const tenantId = yield* insertOrganization()
        const seed = randomInt(2 ** 31)
        const random = randomFrom(seed)
        const below = (limit: number) => Math.floor(random() * limit)
        const qualities = [undefined, undefined, "uncertain", "bad"]
        for (let device = 0; device < 30; device++) {
          const deviceId = randomUUID()
          // From devices that send the same metrics every time, in order, to such that send anything of any time.
          const disorder = device % 3
          const expected = new Map<string, { v: number; ts: number; q?: string }>()
          let sent = 0
          while (sent < 30) {
            const batch: Array<NormalizedMessage> = []
            for (let index = 1 + below(4); index > 0; index--, sent++) {
              const ts = now + (disorder === 2 ? below(12) : sent) * second
              const keys = ["a", "b", "c", "d"].filter((key) => disorder === 0 || key === "a" || below(2) === 0)
              const metrics = Object.fromEntries(keys.map((key) => [key, below(1_000)]))
              const told = keys.flatMap((key) => {
                const q = qualities[below(4)]
                return q === undefined ? [] : [[key, q] as const]
              })
              const quality = Object.fromEntries(told)
              batch.push(
                normalizedMessage({
                  deviceId,
                  tenantId,
                  receivedAt: now + 60 * second,
                  ts,
                  metrics,
                  ...(told.length > 0 && { quality })
                })
              )
              for (const key of keys) {
                if ((expected.get(key)?.ts ?? Number.NEGATIVE_INFINITY) >= ts) continue
                const q = quality[key]
                expected.set(key, { v: metrics[key]!, ts, ...(q !== undefined && { q }) })
              }
            }
            yield* store.storeReadings(batch)
            assert.deepStrictEqual(
              yield* latestOf(deviceId),
              Object.fromEntries(expected),
              `seed ${seed}, device ${device}`
            )
          }
        }
      })
  )

  it.effect(
    "keeps readings of the future and of a clock that is off out of the latest values, not out of history",
    () =>
      Effect.gen(function* () {
        const store = yield* TelemetryStore
        const sql = yield* PipelineSql
        const tenantId = yield* insertOrganization()
        const deviceId = randomUUID()
        const common = { deviceId, tenantId, receivedAt: now }
        yield* store.storeReadings([
          normalizedMessage({ ...common, ts: now + 60 * second, metrics: { a: 1 } }),
          normalizedMessage({ ...common, ts: now + 60 * second + 1, metrics: { a: 2 } }),
          normalizedMessage({ ...common, ts: now + 30 * second, clock: "ahead", metrics: { b: 3 } }),
          normalizedMessage({ ...common, ts: now - 400 * 86_400 * second, clock: "behind", metrics: { c: 4 } })
        ])
        assert.deepStrictEqual(yield* latestOf(deviceId), { a: { v: 1, ts: now + 60 * second } })
        const outside = randomUUID()
        yield* store.storeReadings([normalizedMessage({ ...common, deviceId: outside, ts: now + 3_600 * second })])
        assert.isUndefined(yield* latestOf(outside))
        const frames = yield* sql`select 1 from telemetry_frames where entity_id in (${deviceId}, ${outside})`
        assert.lengthOf(frames, 5)
        assert.strictEqual((yield* statusOf(outside))?.messages, 1)
      })
  )

  it.effect("writes latest values again only for what is newer or not held yet", () =>
    Effect.gen(function* () {
      const store = yield* TelemetryStore
      const sql = yield* PipelineSql
      const tenantId = yield* insertOrganization()
      const deviceId = randomUUID()
      const writerOfLatest = () =>
        Effect.map(
          sql<{ xmin: string }>`select xmin::text from entity_latest where entity_id = ${deviceId}::uuid`,
          ([row]) => row?.xmin
        )
      const storeAt = (ts: number, metrics: Record<string, number>) =>
        store.storeReadings([normalizedMessage({ deviceId, tenantId, receivedAt: ts, ts, metrics })])
      yield* storeAt(now, { a: 1, b: 2 })
      const first = yield* writerOfLatest()
      yield* storeAt(now - second, { a: 0, b: 0 })
      yield* storeAt(now - second, { b: 0 })
      assert.strictEqual(yield* writerOfLatest(), first)
      yield* storeAt(now - second, { b: 0, c: 3 })
      const held = { a: { v: 1, ts: now }, b: { v: 2, ts: now }, c: { v: 3, ts: now - second } }
      assert.deepStrictEqual(yield* latestOf(deviceId), held)
      yield* storeAt(now - second / 2, { c: 4 })
      assert.deepStrictEqual(yield* latestOf(deviceId), { ...held, c: { v: 4, ts: now - second / 2 } })
    })
  )

  it.effect("counts a message without metrics and leaves the latest values alone", () =>
    Effect.gen(function* () {
      const store = yield* TelemetryStore
      const tenantId = yield* insertOrganization()
      const deviceId = randomUUID()
      yield* store.storeReadings([normalizedMessage({ deviceId, tenantId, receivedAt: now, metrics: {} })])
      assert.deepStrictEqual(yield* statusOf(deviceId), { messages: 1, seen: now })
      assert.isUndefined(yield* latestOf(deviceId))
      yield* store.storeReadings([])
    })
  )

  it.effect("stores values that PostgreSQL cannot hold with U+FFFD in their place", () =>
    Effect.gen(function* () {
      const store = yield* TelemetryStore
      const tenantId = yield* insertOrganization()
      const deviceId = randomUUID()
      const metrics = { nul: "a\0b", lone: "x\uD800", nested: { deep: ["\0"] }, escaped: "\\u0000 \\ud800" }
      yield* store.storeReadings([normalizedMessage({ deviceId, tenantId, receivedAt: now, metrics })])
      assert.deepStrictEqual(yield* latestOf(deviceId), {
        nul: { v: "a\uFFFDb", ts: now },
        lone: { v: "x\uFFFD", ts: now },
        nested: { v: { deep: ["\uFFFD"] }, ts: now },
        escaped: { v: "\\u0000 \\ud800", ts: now }
      })
    })
  )

  it.effect("stores batches that touch the same devices at the same time, in any order, without a deadlock", () =>
    Effect.gen(function* () {
      const store = yield* TelemetryStore
      const sql = yield* PipelineSql
      const tenantId = yield* insertOrganization()
      const deviceIds = Array.from({ length: 50 }, () => randomUUID())
      /** Message ids are random, and so is the order of the devices. */
      const batch = () =>
        Array.from({ length: 500 }, (_, index) =>
          normalizedMessage({ deviceId: deviceIds[index % 50]!, tenantId, receivedAt: now + index })
        ).toSorted((one, other) => (one.messageId < other.messageId ? -1 : 1))
      yield* Effect.all(
        Array.from({ length: 24 }, () => sql.withTransaction(store.storeReadings(batch()))),
        { concurrency: 8, discard: true }
      )
      const { status } = yield* devicesState(deviceIds)
      assert.isTrue((status as ReadonlyArray<{ messages_total: bigint }>).every((row) => row.messages_total === 240n))
    })
  )

  it.effect("takes part in the transaction that it is called in", () =>
    Effect.gen(function* () {
      const store = yield* TelemetryStore
      const sql = yield* PipelineSql
      const tenantId = yield* insertOrganization()
      const deviceId = randomUUID()
      const stored = Effect.andThen(
        store.storeReadings([normalizedMessage({ deviceId, tenantId, receivedAt: now })]),
        store.storeRaw([rawMessage({ deviceId })])
      )
      yield* Effect.exit(sql.withTransaction(Effect.andThen(stored, Effect.fail("roll back"))))
      assert.deepStrictEqual(yield* devicesState([deviceId]), yield* devicesState([randomUUID()]))
      assert.lengthOf(yield* sql`select 1 from telemetry_raw where device_id = ${deviceId}`, 0)
    })
  )

  it.effect("tells what can never be stored from a database that is away", () =>
    Effect.gen(function* () {
      const store = yield* TelemetryStore
      const tenantId = yield* insertOrganization()
      const message = normalizedMessage({ deviceId: "no uuid", tenantId, receivedAt: now })
      const poison = yield* Effect.flip(store.storeReadings([message]))
      assert.deepInclude<object>(poison, { _tag: "Poison", reason: "Unstorable" })
      const refused = yield* Effect.flip(
        store.storeReadings([normalizedMessage({ deviceId: randomUUID(), tenantId: randomUUID(), receivedAt: now })])
      )
      assert.strictEqual(refused._tag, "DatabaseUnavailable", "a refusal is judged by the loop, from its cause")
    })
  )

  it.effect("copies what was sent once, bytes untouched, headers cleaned, the refused with their reason", () =>
    Effect.gen(function* () {
      const store = yield* TelemetryStore
      const sql = yield* PipelineSql
      const tenantId = yield* insertOrganization()
      const payload = Buffer.from([0, 255, 0xc3, 0x28, 123])
      const accepted = rawMessage({
        tenantId,
        deviceId: randomUUID(),
        payload,
        size: 5,
        offset: 9_007_199_254_740_993n
      })
      const refused = rawMessage({
        payload,
        size: 9_000_000,
        mqttTopic: "a\0b",
        clientId: "\uDC00",
        error: "PayloadTooLarge",
        errorReason: "too\0large"
      })
      yield* store.storeRaw([accepted, refused])
      yield* store.storeRaw([refused, accepted, { ...accepted, payload: Buffer.from("other") }])
      const ids = [accepted.messageId, refused.messageId]
      const rows =
        yield* sql`select message_id, tenant_id, payload, size, mqtt_topic, client_id, "offset", error, error_reason
        from telemetry_raw where message_id = any(${ids}::text[]::uuid[]) order by size`
      assert.lengthOf(rows, 2)
      assert.deepInclude(rows[0], { tenant_id: tenantId, size: 5, offset: 9_007_199_254_740_993n, error: null })
      assert.deepStrictEqual([...(rows[0] as { payload: Uint8Array }).payload], [...payload])
      assert.deepInclude(rows[1], {
        tenant_id: null,
        mqtt_topic: "a\uFFFDb",
        client_id: "\uFFFD",
        error: "PayloadTooLarge",
        error_reason: "too\uFFFDlarge"
      })
    })
  )
})

layer(testDatabase, { excludeTestServices: true })("without deduplication the control", (it) => {
  it.effect("stores a redelivered reading twice", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const tenantId = yield* insertOrganization()
      const deviceId = randomUUID()
      const off = Layer.succeed(Safeguards, { ...allSafeguards, deduplicateReadings: false })
      const store = Context.get(yield* Layer.build(Layer.provide(TelemetryStore.layer, off)), TelemetryStore)
      const message = normalizedMessage({ deviceId, tenantId, receivedAt: now })
      yield* store.storeReadings([message])
      yield* store.storeReadings([message])
      assert.lengthOf(yield* sql`select 1 from telemetry_frames where entity_id = ${deviceId}`, 2)
    })
  )
})
