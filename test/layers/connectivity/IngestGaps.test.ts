import { BREAK_MICROS, forgetGaps, noteAccepting, readAcceptance } from "@argusiq/layers/connectivity/IngestGaps.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { testDatabase } from "../../support/postgres.ts"

const SECOND = 1_000_000
const start = 1_767_225_600_000_001

layer(testDatabase, { excludeTestServices: true })("the gaps in what the platform accepts", (it) => {
  it.effect("are the times between two words of any bridge that lie too far apart, to the microsecond", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const say = (at: number) => noteAccepting(sql, at)
      assert.deepStrictEqual(yield* readAcceptance(sql), { acceptedUntil: 0, gaps: [] })
      yield* say(start)
      const before = { from: 0, to: start }
      assert.deepStrictEqual(yield* readAcceptance(sql), { acceptedUntil: start, gaps: [before] })
      yield* say(start + BREAK_MICROS)
      yield* say(start + SECOND) // another bridge, somewhat late
      assert.deepStrictEqual((yield* readAcceptance(sql)).gaps, [before])
      const last = start + BREAK_MICROS
      yield* say(last + 300 * SECOND)
      assert.deepStrictEqual(yield* readAcceptance(sql), {
        acceptedUntil: last + 300 * SECOND,
        gaps: [before, { from: last, to: last + 300 * SECOND }]
      })
    })
  )

  it.effect("are found once when several bridges come back together", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const { acceptedUntil, gaps } = yield* readAcceptance(sql)
      const words = Array.from({ length: 8 }, (_, index) => acceptedUntil + 60 * SECOND + index)
      yield* Effect.forEach(words, (at) => noteAccepting(sql, at), { concurrency: "unbounded", discard: true })
      const after = yield* readAcceptance(sql)
      assert.strictEqual(after.acceptedUntil, words.at(-1))
      assert.lengthOf(after.gaps, gaps.length + 1)
    })
  )

  it.effect("are forgotten when nobody reads them any more, counted from the last word", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const kept = Effect.map(sql<{ n: number }>`select count(*)::int as n from ingest_gaps`, ([row]) => row?.n)
      const before = yield* readAcceptance(sql)
      yield* noteAccepting(sql, before.acceptedUntil + 31 * 86_400 * SECOND)
      const { gaps } = yield* readAcceptance(sql)
      assert.strictEqual(yield* forgetGaps(sql), 0, "those of the last month are read")
      yield* noteAccepting(sql, before.acceptedUntil + 33 * 86_400 * SECOND)
      assert.strictEqual(yield* forgetGaps(sql), gaps.length - 1)
      assert.strictEqual(yield* kept, 2)
      assert.lengthOf((yield* readAcceptance(sql)).gaps, 2)
    })
  )
})
