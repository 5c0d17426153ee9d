import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Fiber, Ref } from "effect"
import {
  awaitedPartitions,
  dropPartition,
  framesTable,
  listPartitions,
  makeAhead,
  makePartition,
  partitionAt,
  rawTable,
  removeOutside
} from "../../../layers/database/partitions.ts"
import { OwnerSql, PipelineSql } from "../../../layers/database/Sql.ts"
import { testDatabase } from "../../support/postgres.ts"
import { insertFrames, insertRaw } from "./telemetryRows.ts"

const at = (text: string) => Date.parse(text)
const day = 86_400_000

describe("the partition of an instant", () => {
  it("is the week from Monday for frames, the quarter of the day for the audit copy", () => {
    for (const [instant, name, from] of [
      ["2026-01-19T00:00:00Z", "telemetry_frames_20260119", "2026-01-19T00:00:00Z"],
      ["2026-01-25T23:59:59.999Z", "telemetry_frames_20260119", "2026-01-19T00:00:00Z"],
      ["1969-12-31T12:00:00Z", "telemetry_frames_19691229", "1969-12-29T00:00:00Z"]
    ] as const) {
      const partition = partitionAt(framesTable, at(instant))
      assert.deepStrictEqual(partition, { name, from: at(from), to: at(from) + 7 * day })
    }
    assert.deepStrictEqual(partitionAt(rawTable, at("2026-01-20T17:59:59Z")), {
      name: "telemetry_raw_2026012012",
      from: at("2026-01-20T12:00:00Z"),
      to: at("2026-01-20T18:00:00Z")
    })
  })
})

const countIn = (table: string) =>
  Effect.flatMap(OwnerSql, (sql) =>
    Effect.map(sql.unsafe<{ n: number }>(`select count(*)::int as n from ${table}`), (rows) => rows[0]?.n ?? -1)
  )

layer(testDatabase, { excludeTestServices: true })("partitions", (it) => {
  it.effect("are made ahead once, with the bounds that their names say", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const now = at("2031-03-05T10:00:00Z")
      const made = yield* makeAhead(sql, rawTable, now)
      assert.strictEqual(made.length, 1 + rawTable.ahead)
      assert.deepStrictEqual(yield* makeAhead(sql, rawTable, now), [])
      const partitions = yield* listPartitions(sql, rawTable)
      assert.deepStrictEqual(
        partitions.map(({ from, name, to }) => ({ from, name, to })),
        made.map((_, step) => partitionAt(rawTable, now + step * rawTable.span))
      )
      yield* insertRaw(sql, [now, now + 2 * day])
      assert.strictEqual(yield* countIn("telemetry_raw_outside"), 0)
    })
  )

  it.effect("are analyzed without the columns that no query is planned by", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const [name = ""] = yield* makeAhead(sql, framesTable, at("2030-03-05T10:00:00Z"))
      const columns = yield* sql<{ name: string }>`
        select attname::text as name from pg_attribute where attrelid = ${name}::text::regclass and attstattarget = 0
        order by attnum`
      assert.deepStrictEqual(
        columns.map((column) => column.name),
        framesTable.unsampled
      )
    })
  )

  it.effect("take the rows of their time from outside, and leave the others there", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const pipeline = yield* PipelineSql
      const week = at("2026-01-19T00:00:00Z")
      yield* insertFrames(pipeline, [week - 1, week, week + 3 * day, week + 7 * day - 1, week + 7 * day])
      const { from, name } = partitionAt(framesTable, week)
      assert.deepStrictEqual(
        (yield* awaitedPartitions(sql, framesTable, { from: 0, to: week + 30 * day })).map((awaited) => awaited.from),
        [week - 7 * day, week, week + 7 * day]
      )
      assert.strictEqual(yield* makePartition(sql, framesTable, week + day), 3)
      assert.strictEqual(yield* makePartition(sql, framesTable, week), undefined)
      assert.strictEqual(yield* countIn(name), 3)
      assert.strictEqual(yield* countIn("telemetry_frames_outside"), 2)
      assert.strictEqual(yield* countIn("telemetry_frames"), 5)
      const again = (yield* listPartitions(sql, framesTable)).find((partition) => partition.name === name)
      assert.strictEqual(again?.from, from)
      assert.isAbove(again?.bytes ?? 0, 0)
      yield* dropPartition(sql, partitionAt(framesTable, week))
      assert.strictEqual(yield* countIn("telemetry_frames"), 2)
      assert.strictEqual(yield* removeOutside(sql, framesTable, week + 7 * day), 1)
      assert.strictEqual(yield* countIn("telemetry_frames"), 1)
    })
  )

  it.effect("still recognise a reading that is stored already", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const week = at("2024-05-06T00:00:00Z")
      const row = (ts: number) => sql`insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id,
          message_id, received_at, source_device_id, config_version, metrics)
        select id, 'device', id, ${new Date(ts)}, id, id, now(), id, 1, '{}'
        from (values ('00000000-0000-4000-8000-000000000001'::uuid)) as one (id) on conflict do nothing returning 1 as new`
      assert.strictEqual((yield* row(week)).length, 1)
      yield* makePartition(yield* OwnerSql, framesTable, week)
      assert.strictEqual((yield* row(week)).length, 0)
    })
  )

  it.effect("can be made while others write: no insert fails, no row is lost or left outside", () =>
    Effect.gen(function* () {
      const owner = yield* OwnerSql
      const pipeline = yield* PipelineSql
      const first = at("2020-01-06T00:00:00Z")
      const weeks = Array.from({ length: 12 }, (_, week) => first + week * framesTable.span)
      const stop = yield* Ref.make(false)
      const written = yield* Ref.make(0)
      const insert = Effect.suspend(() =>
        insertFrames(
          pipeline,
          weeks.map((week) => week + Math.floor(Math.random() * framesTable.span))
        )
      )
      const writer = Effect.gen(function* () {
        while (!(yield* Ref.get(stop))) {
          // Alone, and twice in one transaction, which holds its locks in between.
          yield* insert
          yield* pipeline.withTransaction(Effect.andThen(insert, insert))
          yield* Ref.update(written, (n) => n + 3 * weeks.length)
        }
      })
      const writers = yield* Effect.all([writer, writer, writer], { concurrency: "unbounded" }).pipe(Effect.forkChild)
      let moved = 0
      for (const week of weeks) {
        yield* Effect.sleep("30 millis")
        moved += (yield* makePartition(owner, framesTable, week)) ?? 0
      }
      yield* Ref.set(stop, true)
      yield* Fiber.join(writers)
      assert.isAbove(moved, 0)
      const range = `ts >= '2020-01-06' and ts < '2020-03-30'`
      assert.strictEqual(yield* countIn(`telemetry_frames where ${range}`), yield* Ref.get(written))
      assert.strictEqual(yield* countIn(`telemetry_frames_outside where ${range}`), 0)
    })
  )

  it.effect("give way to a long reader, so that writers never wait for it long", () =>
    Effect.gen(function* () {
      const owner = yield* OwnerSql
      const pipeline = yield* PipelineSql
      const week = at("2019-01-07T00:00:00Z")
      const reader = yield* pipeline
        .withTransaction(Effect.andThen(pipeline`select count(*) from telemetry_frames`, Effect.sleep("2500 millis")))
        .pipe(Effect.forkChild)
      yield* Effect.sleep("200 millis")
      const maker = yield* Effect.forkChild(makePartition(owner, framesTable, week))
      yield* Effect.sleep("100 millis")
      let longest = 0
      for (let insert = 0; insert < 10; insert++) {
        const before = Date.now()
        yield* insertFrames(pipeline, [week])
        longest = Math.max(longest, Date.now() - before)
        yield* Effect.sleep("50 millis")
      }
      assert.isBelow(longest, 1_900)
      yield* Fiber.join(reader)
      assert.strictEqual(yield* Fiber.join(maker), 10)
    })
  )
})
