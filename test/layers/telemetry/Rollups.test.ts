import { type AggregationFunction } from "@argusiq/domain/http/telemetry.ts"
import { microsFromIso } from "@argusiq/domain/http/scalars.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { framesTable } from "@argusiq/layers/database/partitions.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import * as Rollups from "@argusiq/layers/telemetry/Rollups.ts"
import { TelemetryHistory } from "@argusiq/layers/telemetry/TelemetryHistory.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { careFor, oldestKept } from "@argusiq/jobs/partitionCare.ts"
import { assert, layer } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { randomFrom } from "../../support/random.ts"
import { testDatabase } from "../../support/postgres.ts"
import { insertFrames } from "../database/telemetryRows.ts"
import { insertEndpoint } from "../profiles/registry.ts"
import { aggregate, type MeasuredFrame, widths } from "./measured.ts"
import { normalizedMessage } from "./messages.ts"

const hour = 3_600_000
const day = 24 * hour
const start = Date.UTC(2026, 2, 2) // a Monday
const keys = ["a", "b", "s"]
const fns: ReadonlyArray<AggregationFunction> = ["avg", "min", "max", "sum", "count", "first", "last"]

/** As if nothing had been stored before `start`. */
const begin = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const at = new Date(start)
  yield* sql`update rollup_progress set rolled_before = ${at}, marked_before = ${at}, kept_from = '-infinity'`
  return yield* insertEndpoint()
})
type Device = Effect.Success<typeof begin>

const store = Effect.fnUntraced(function* (device: Device, frames: ReadonlyArray<MeasuredFrame>) {
  const telemetry = yield* TelemetryStore
  const messages = frames.map(({ metrics, quality, readingId, ts }) =>
    normalizedMessage({ ...device, receivedAt: ts, metrics, readingId, ...(quality !== undefined && { quality }) })
  )
  yield* telemetry.storeReadings(messages)
})

interface Question {
  readonly aggregation: keyof typeof widths
  readonly fn: AggregationFunction
  readonly from: number // epoch microseconds
  readonly to: number
  readonly order?: "asc" | "desc"
  readonly limit?: number
}
/** All pages of an answer, by metric. */
const ask = Effect.fnUntraced(function* (device: Device, question: Question) {
  const history = yield* TelemetryHistory
  const answer = new Map<string, Array<readonly [bucket: number, value: unknown]>>(keys.map((key) => [key, []]))
  let cursor: string | undefined
  do {
    const page = yield* history.device(device.tenantId as TenantId, {
      deviceId: device.deviceId,
      metricKeys: keys,
      order: "asc",
      limit: 1_000,
      ...question,
      cursor
    })
    for (const { data, metricKey } of page.series) {
      for (const { timestamp, value } of data) answer.get(metricKey)!.push([microsFromIso(timestamp)!, value])
    }
    cursor = page.nextCursor ?? undefined
  } while (cursor !== undefined)
  return answer
})

const same = (one: unknown, other: unknown) =>
  typeof one === "number" && typeof other === "number"
    ? Math.abs(one - other) <= 1e-9 * Math.max(1, Math.abs(one), Math.abs(other))
    : JSON.stringify(one) === JSON.stringify(other)

const assertSame = (
  answer: ReadonlyMap<string, ReadonlyArray<readonly [number, unknown]>>,
  frames: ReadonlyArray<MeasuredFrame>,
  { aggregation, fn, order }: Question,
  told: string
) => {
  for (const key of keys) {
    const ascending = aggregate(frames, key, widths[aggregation], fn)
    const expected = order === "desc" ? ascending.toReversed() : ascending
    const given = answer.get(key)!
    const isSame =
      given.length === expected.length &&
      given.every(([bucket, value], index) => bucket === expected[index]![0] && same(value, expected[index]![1]))
    if (!isSame)
      assert.deepStrictEqual(
        given,
        expected.map(([bucket, value]) => [bucket, value] as const),
        `${told}, ${key}`
      )
  }
}

const telemetry = Layer.merge(TelemetryStore.layer, TelemetryHistory.layer).pipe(Layer.provideMerge(testDatabase))

layer(telemetry, { excludeTestServices: true })("rollups and the frames beside them", (it) => {
  it.effect(
    "answer as a computation over all frames would, whatever comes late, twice or too late, and whenever the rolling is cut off",
    () =>
      Effect.gen(function* () {
        const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000)
        const random = randomFrom(seed)
        const chance = (probability: number) => random() < probability
        const within = (from: number, to: number) => Math.floor(from + random() * (to - from))
        const oneOf = <A>(values: ReadonlyArray<A>): A => values[within(0, values.length)]!
        const sql = yield* OwnerSql
        const device = yield* begin
        const limits = { keep: 14 * day }

        let now = start + 3 * hour
        let live: Array<MeasuredFrame> = []
        let frozen: Array<MeasuredFrame> = []
        let cut = Number.NEGATIVE_INFINITY // epoch microseconds

        const value = () => (chance(0.1) ? chance(0.5) : chance(0.02) ? 1e300 : Math.round(random() * 1e6) / 1e3)
        const frame = (): MeasuredFrame => {
          const at = chance(0.6)
            ? now - within(0, 2 * hour)
            : chance(0.8)
              ? now - within(0, 20 * day)
              : now + within(-60 * day, 3 * hour)
          const metrics = {
            ...(chance(0.9) && { a: value() }),
            ...(chance(0.5) && { b: value() }),
            ...(chance(0.2) && { s: oneOf(["on", "off", true]) })
          }
          const quality = chance(0.15) ? { [oneOf(keys)]: oneOf(["bad", "uncertain"]) } : undefined
          // Many share an instant, so that the reading's id decides which is first.
          const ts = at * 1_000 + (chance(0.5) ? -((at * 1_000) % 60_000_000) : within(0, 1_000))
          return { ts, readingId: randomUUID(), metrics, ...(quality !== undefined && { quality }) }
        }
        const insert = Effect.suspend(() => {
          const fresh = Array.from({ length: within(1, 30) }, frame)
          const again = live.length > 0 && chance(0.3) ? [oneOf(live), oneOf(live)].filter(({ ts }) => ts >= cut) : []
          live.push(...fresh)
          return store(device, [...new Set([...fresh, ...again])])
        })
        const roll = Effect.gen(function* () {
          const work = Effect.andThen(Rollups.advance(sql, now), Rollups.refresh(sql))
          if (chance(0.5)) yield* work
          else yield* Effect.timeoutOption(work, within(1, 40))
        })
        const freeze = Effect.gen(function* () {
          const from = oldestKept(framesTable, limits, now)
          yield* Rollups.freezeBefore(sql, from, now)
          if (from * 1_000 <= cut) return
          frozen = [...frozen, ...live.filter(({ ts }) => ts >= cut && ts < from * 1_000)]
          cut = from * 1_000
        })
        const care = Effect.gen(function* () {
          yield* freeze
          yield* careFor(sql, framesTable, limits, now)
          live = live.filter(({ ts }) => ts >= cut)
        })
        const check = Effect.gen(function* () {
          const aggregation = oneOf(["1m", "5m", "1h", "1h", "1d", "1d"] as const)
          const to = (now + within(-30 * day, 4 * hour)) * 1_000
          const length = chance(0.3) ? within(1, 3 * hour) : within(1, 45 * day)
          const isAligned = chance(0.3)
          const bound = (micros: number) => (isAligned ? Math.floor(micros / widths["1d"]) * widths["1d"] : micros)
          const question: Question = {
            aggregation,
            fn: oneOf(fns),
            from: bound(to - length * 1_000 - widths["1d"]),
            to: bound(to),
            order: oneOf(["asc", "desc"]),
            limit: oneOf([7, 100, 10_000])
          }
          const isRolled = aggregation === "1h" || aggregation === "1d"
          const lastAsked = Math.ceil(question.to / widths["1h"]) * widths["1h"]
          const firstAsked = Math.floor(question.from / widths["1h"]) * widths["1h"]
          const asked = isRolled
            ? [
                ...frozen.filter(({ ts }) => ts >= firstAsked && ts < lastAsked),
                ...live.filter(({ ts }) => ts >= cut && ts >= question.from && ts < question.to)
              ]
            : live.filter(({ ts }) => ts >= question.from && ts < question.to)
          const told = `SEED=${seed}, ${JSON.stringify(question)}`
          assertSame(yield* ask(device, question), asked, question, told)
        })

        yield* careFor(sql, framesTable, limits, now)
        for (let step = 0; step < 120; step++) {
          const action = random()
          if (action < 0.35) yield* insert
          else if (action < 0.6) yield* roll
          else if (action < 0.75) yield* Effect.all([insert, roll, insert, roll], { concurrency: "unbounded" })
          else if (action < 0.95) now += chance(0.15) ? within(0, 3 * day) : within(0, 8 * hour)
          else if (chance(0.5)) yield* care
          else yield* freeze
          yield* check
        }
        now += day
        yield* Rollups.advance(sql, now)
        yield* Rollups.refresh(sql)
        for (let round = 0; round < 40; round++) yield* check
        const [left] = yield* sql<{ n: number }>`select count(*)::int as n from rollup_dirty`
        assert.strictEqual(left?.n, 0)
        const [rolled] = yield* sql<{
          n: number
        }>`select count(*)::int as n from telemetry_rollups where resolution = '1d'`
        assert.isAbove(rolled?.n ?? 0, 20, `SEED=${seed}: days were rolled up`)
      }),
    30_000
  )

  const at = (millis: number, a: number): MeasuredFrame => ({
    ts: millis * 1_000,
    readingId: randomUUID(),
    metrics: { a }
  })
  const wholeDay: Question = { aggregation: "1h", fn: "sum", from: start * 1_000, to: (start + day) * 1_000 }
  const sums = (device: Device) =>
    Effect.map(ask(device, wholeDay), (answer) => answer.get("a")!.map(([, value]) => value))
  const rolledSums = Effect.fnUntraced(function* (device: Device) {
    const sql = yield* OwnerSql
    const rows = yield* sql<{ sum: number }>`select sum from telemetry_rollups
      where entity_id = ${device.deviceId}::uuid and resolution = '1h' order by bucket`
    return rows.map(({ sum }) => sum)
  })
  /** Stores in a transaction that stays open until the answer is run, which waits for its commit. */
  const storeSlowly = Effect.fnUntraced(function* (device: Device, frames: ReadonlyArray<MeasuredFrame>) {
    const pipeline = yield* PipelineSql
    const stored = yield* Deferred.make<void>()
    const end = yield* Deferred.make<void>()
    const transaction = pipeline.withTransaction(
      Effect.gen(function* () {
        yield* store(device, frames)
        yield* Deferred.succeed(stored, undefined)
        yield* Deferred.await(end)
      })
    )
    const fiber = yield* Effect.forkChild(transaction)
    yield* Deferred.await(stored)
    return Effect.andThen(Deferred.succeed(end, undefined), Fiber.join(fiber))
  })

  it.effect("an hour is not taken over before those who store into it without a mark are done", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const device = yield* begin
      yield* store(device, [at(start + 1, 1)])
      const commit = yield* storeSlowly(device, [at(start + 2, 10)])
      const rolling = yield* Effect.forkChild(
        Effect.andThen(Rollups.advance(sql, start + 2 * hour), Rollups.refresh(sql))
      )
      yield* Effect.sleep(300)
      assert.deepStrictEqual(yield* rolledSums(device), [])
      yield* commit
      yield* Fiber.join(rolling)
      assert.deepStrictEqual(yield* rolledSums(device), [11])
      assert.deepStrictEqual(yield* sums(device), [11])
    })
  )

  it.effect("a late frame that commits after its hour was computed anew is seen at once, and rolled up next", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const device = yield* begin
      yield* store(device, [at(start + 1, 1)])
      yield* Rollups.advance(sql, start + 2 * hour)
      yield* Rollups.refresh(sql)
      const commit = yield* storeSlowly(device, [at(start + 2, 10)])
      // Beside the store, whose latest values the open transaction holds.
      const { deviceId, tenantId } = device
      yield* insertFrames(yield* PipelineSql, [start + 3], { tenantId, entityId: deviceId, metrics: { a: 100 } })
      yield* Rollups.refresh(sql)
      assert.deepStrictEqual(yield* rolledSums(device), [101])
      yield* commit
      assert.deepStrictEqual(yield* sums(device), [111], "from frames, since it is marked")
      yield* Rollups.refresh(sql)
      assert.deepStrictEqual(yield* rolledSums(device), [111])
      assert.deepStrictEqual(yield* sums(device), [111])
    })
  )

  it.effect("a batch leaves one mark for each entity and late hour, a redelivery and what is on time leave none", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const device = yield* begin
      const marks = Effect.map(
        sql<{ n: number }>`select count(*)::int as n from rollup_dirty where entity_id = ${device.deviceId}::uuid`,
        (rows) => rows[0]?.n
      )
      const late = Array.from({ length: 50 }, (_, index) => at(start - (index % 2) * hour - 1, index))
      yield* store(device, [...late, at(start, 1)])
      assert.strictEqual(yield* marks, 2)
      yield* store(device, late)
      assert.strictEqual(yield* marks, 2)
      yield* Rollups.refresh(sql)
      assert.strictEqual(yield* marks, 0)
    })
  )

  it.effect("what is taken back leaves the rollups", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const pipeline = yield* PipelineSql
      const device = yield* begin
      const wrong = at(start + hour, 5)
      yield* store(device, [at(start, 1), at(start + 1, 2), wrong])
      yield* Rollups.advance(sql, start + 3 * hour)
      yield* Rollups.refresh(sql)
      assert.deepStrictEqual(yield* rolledSums(device), [3, 5])
      yield* pipeline`delete from telemetry_frames where reading_id = ${wrong.readingId}::uuid`
      yield* pipeline`update telemetry_frames set metrics = '{"a": 7}' where entity_id = ${device.deviceId}::uuid
        and metrics = '{"a": 2}'`
      assert.deepStrictEqual(yield* sums(device), [8])
      yield* Rollups.refresh(sql)
      assert.deepStrictEqual(yield* rolledSums(device), [8])
      assert.deepStrictEqual(yield* sums(device), [8])
    })
  )
})
