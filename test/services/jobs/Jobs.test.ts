import { assert, layer } from "@effect/vitest"
import { Clock, ConfigProvider, Effect, Fiber, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { setTimeout as delay } from "node:timers/promises"
import {
  framesTable,
  listPartitions,
  makePartition,
  partitionAt,
  rawTable
} from "../../../layers/database/partitions.ts"
import { OwnerSql, PipelineSql } from "../../../layers/database/Sql.ts"
import * as ProfileCache from "../../../layers/profiles/ProfileCache.ts"
import { run } from "../../../services/jobs/Jobs.ts"
import * as Rollups from "../../../layers/telemetry/Rollups.ts"
import { careFor, oldestKept } from "../../../services/jobs/partitionCare.ts"
import { testDatabase } from "../../support/postgres.ts"
import { testBus } from "../dispatcher/topics.ts"
import { insertFrames, insertRaw } from "../../layers/database/telemetryRows.ts"

const day = 86_400_000
const countIn = (table: string) =>
  Effect.flatMap(OwnerSql, (sql) =>
    Effect.map(sql.unsafe<{ n: number }>(`select count(*)::int as n from ${table}`), (rows) => rows[0]?.n ?? -1)
  )

const named = (at: number) => partitionAt(framesTable, at).name
const until = (holds: Effect.Effect<boolean, unknown, OwnerSql>, what: string) =>
  Effect.gen(function* () {
    for (let tries = 0; !(yield* holds); tries++) {
      assert.isBelow(tries, 500, `waited for ${what}`)
      yield* Effect.promise(() => delay(20))
    }
  })
const hasPartition = (at: number) =>
  Effect.flatMap(OwnerSql, (sql) =>
    Effect.map(listPartitions(sql, rawTable), (partitions) =>
      partitions.some(({ name }) => name === partitionAt(rawTable, at).name)
    )
  )

layer(testDatabase, { excludeTestServices: true })("a round of care", (it) => {
  it.effect(
    "makes partitions ahead, moves late rows in, drops what expired and clears what never got a partition",
    () =>
      Effect.gen(function* () {
        const sql = yield* OwnerSql
        const pipeline = yield* PipelineSql
        const now = Date.parse("2026-06-17T12:00:00Z")
        yield* makePartition(sql, framesTable, now - 60 * day)
        const tooFar = now + 100 * day
        yield* insertFrames(pipeline, [now, now - 20 * day, now - 60 * day, now - 90 * day, 0, tooFar])
        const care = yield* careFor(sql, framesTable, { keep: 30 * day }, now)
        assert.deepStrictEqual(care.dropped, [named(now - 60 * day)])
        assert.strictEqual(care.removedOutside, 2)
        assert.include(care.made, named(now))
        assert.include(care.made, named(now - 20 * day))
        assert.strictEqual(yield* countIn(named(now)), 1)
        assert.strictEqual(yield* countIn(named(now - 20 * day)), 1)
        assert.strictEqual(yield* countIn("telemetry_frames_outside"), 1, "the one of the far future waits")
        const again = yield* careFor(sql, framesTable, { keep: 30 * day }, now)
        assert.deepStrictEqual(again, { made: [], movedRows: 0, dropped: [], removedOutside: 0 })
      })
  )

  it.effect("keeps the audit copy within its bytes", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const pipeline = yield* PipelineSql
      const now = Date.parse("2026-06-17T13:00:00Z")
      const quarters = [now - day, now - day / 2, now - day / 4, now]
      for (const quarter of quarters) yield* makePartition(sql, rawTable, quarter)
      const payload = crypto.getRandomValues(new Uint8Array(60_000))
      for (const quarter of quarters)
        yield* insertRaw(
          pipeline,
          Array.from({ length: 10 }, () => quarter),
          { payload }
        )
      const care = yield* careFor(sql, rawTable, { keep: 7 * day, maxBytes: 2_200_000 }, now)
      assert.deepStrictEqual(care.dropped, [
        partitionAt(rawTable, now - day).name,
        partitionAt(rawTable, now - day / 2).name
      ])
      const bytes = (yield* listPartitions(sql, rawTable)).reduce((sum, partition) => sum + partition.bytes, 0)
      assert.isAtMost(bytes, 2_200_000)
      assert.strictEqual(yield* countIn("telemetry_raw"), 20)
    })
  )

  it.effect("what is cut stays in the rollups, with what came late before, without what comes later", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const pipeline = yield* PipelineSql
      const now = Date.parse("2026-06-17T12:00:00Z")
      const entityId = randomUUID()
      const begin = new Date(now - 60 * day)
      yield* sql`update rollup_progress set rolled_before = ${begin}, marked_before = ${begin}, kept_from = '-infinity'`
      const limits = { keep: 14 * day }
      const care = (at: number) =>
        Effect.gen(function* () {
          yield* Rollups.freezeBefore(sql, oldestKept(framesTable, limits, at), at)
          return yield* careFor(sql, framesTable, limits, at)
        })
      const counted = Effect.map(
        sql<{ resolution: string; n: number }>`select resolution, sum(count)::int as n from telemetry_rollups
          where entity_id = ${entityId}::uuid group by resolution order by resolution desc`,
        (rows) => rows.map(({ n, resolution }) => [resolution, n])
      )
      yield* care(now)
      yield* insertFrames(pipeline, [now, now - day, now - day], { entityId })
      yield* Rollups.advance(sql, now + day)
      yield* insertFrames(pipeline, [now - day], { entityId })
      const { dropped } = yield* care(now + 30 * day)
      assert.include(dropped, named(now))
      assert.deepStrictEqual(yield* counted, [
        ["1h", 4],
        ["1d", 4]
      ])
      yield* insertFrames(pipeline, [now - day], { entityId })
      yield* Rollups.refresh(sql)
      yield* care(now + 30 * day)
      assert.deepStrictEqual(yield* counted, [
        ["1h", 4],
        ["1d", 4]
      ])
      assert.strictEqual(yield* countIn("rollup_dirty"), 0)
      assert.lengthOf(yield* sql`select 1 from telemetry_frames where entity_id = ${entityId}::uuid`, 0)
    })
  )
})

/** The clock as it stands `ahead` milliseconds from now. Pauses last as long as ever: they are the database's too. */
const shifted = Effect.map(Clock.Clock, (clock) => {
  const state = { ahead: 0 }
  const nowMillis = () => clock.currentTimeMillisUnsafe() + state.ahead
  const moved: Clock.Clock = {
    currentTimeMillisUnsafe: nowMillis,
    currentTimeMillis: Effect.sync(nowMillis),
    currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe() + BigInt(state.ahead) * 1_000_000n,
    currentTimeNanos: Effect.sync(() => clock.currentTimeNanosUnsafe() + BigInt(state.ahead) * 1_000_000n),
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
    monotonicTimeNanos: clock.monotonicTimeNanos,
    sleep: (duration) => clock.sleep(duration)
  }
  return { moved, state }
})

const world = Layer.merge(testBus, ProfileCache.layer({ size: 100 })).pipe(Layer.provideMerge(testDatabase))

layer(world, { excludeTestServices: true })("the jobs service", (it) => {
  it.effect("works in one process at a time, goes on through the night, and is taken over when its owner ends", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const owners = Effect.map(
        sql<{ n: number }>`select count(*)::int as n from pg_locks where locktype = 'advisory' and granted
          and database = (select oid from pg_database where datname = current_database())`,
        (rows) => rows[0]?.n
      )
      const { moved, state } = yield* shifted
      const start = moved.currentTimeMillisUnsafe()
      const working = run({ round: "100 millis", rollUp: "100 millis", standBy: "50 millis" }).pipe(
        Effect.provideService(Clock.Clock, moved)
      )
      const first = yield* Effect.forkChild(working)
      yield* until(hasPartition(start), "the first round")
      const second = yield* Effect.forkChild(working)
      state.ahead = 2.5 * day
      yield* until(hasPartition(start + state.ahead), "a later round")
      assert.strictEqual(yield* owners, 1)
      yield* Fiber.interrupt(first)
      state.ahead = 5 * day
      yield* until(hasPartition(start + state.ahead), "a round of the second")
      assert.strictEqual(yield* owners, 1)
      yield* Fiber.interrupt(second)
      yield* until(
        Effect.map(owners, (n) => n === 0),
        "the release"
      )
    })
  )

  it.effect("refuses a wrong setting by its name", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(run()).pipe(
        Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ TELEMETRY_RAW_MAX_BYTES: "lots" })))
      )
      assert.include(error.message, "TELEMETRY_RAW_MAX_BYTES")
    })
  )
})
