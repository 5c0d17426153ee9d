import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { sqlState } from "@argusiq/layers/database/errors.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import { isSqlError } from "effect/sql/SqlError"
import { testDatabase } from "../../support/postgres.ts"

/** A table of notes that the pipeline may write. */
const notes = Effect.gen(function* () {
  const sql = yield* OwnerSql
  yield* sql`drop table if exists notes`
  yield* sql`create table notes (id int primary key, text text not null)`
  yield* sql`grant select, insert, update on notes to argusiq_pipeline`
  return Effect.map(sql<{ text: string }>`select text from notes order by id`, (rows) => rows.map(({ text }) => text))
})

const stateOf = <A>(exit: Exit.Exit<A, unknown>) => {
  const error = Exit.isFailure(exit) ? exit.cause.reasons.find(({ _tag }) => _tag === "Fail") : undefined
  return error?._tag === "Fail" && isSqlError(error.error) ? sqlState(error.error) : undefined
}

layer(testDatabase, { excludeTestServices: true })("a transaction with a guard", (it) => {
  it.effect("is one: the guard and all that follows it", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const texts = yield* notes
      const answer = yield* sql.withGuard(
        sql`insert into notes values (1, 'guard')`,
        Effect.gen(function* () {
          const [first] = yield* sql<{ xid: string }>`select pg_current_xact_id()::text as xid`
          yield* sql`insert into notes values (2, 'rest')`
          const [second] = yield* sql<{ xid: string }>`select pg_current_xact_id()::text as xid`
          assert.strictEqual(first!.xid, second!.xid)
          assert.deepStrictEqual(yield* texts, [], "nobody else sees it before it is committed")
          return 42
        })
      )
      assert.strictEqual(answer, 42)
      assert.deepStrictEqual(yield* texts, ["guard", "rest"])
    })
  )

  it.effect("leaves nothing where the guard fails, though the rest was under way, and says why the guard did", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const texts = yield* notes
      const exit = yield* Effect.exit(
        sql.withGuard(sql`select 1 / count(*) from notes`, sql`insert into notes values (1, 'rest')`)
      )
      assert.strictEqual(stateOf(exit), "22012")
      assert.deepStrictEqual(yield* texts, [])
    })
  )

  it.effect("leaves nothing where the rest fails, for whatever reason", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const texts = yield* notes
      const guard = sql`insert into notes values (1, 'guard')`
      assert.strictEqual(
        stateOf(yield* Effect.exit(sql.withGuard(guard, sql`insert into notes values (2, null)`))),
        "23502"
      )
      assert.deepStrictEqual(yield* Effect.exit(sql.withGuard(guard, Effect.fail("ours"))), Exit.fail("ours"))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(sql.withGuard(guard, Effect.die("thrown")))))
      assert.deepStrictEqual(yield* texts, [])
      yield* sql.withGuard(guard, Effect.void)
      assert.deepStrictEqual(yield* texts, ["guard"])
    })
  )

  it.effect("interrupted, leaves nothing and a connection that the next one can use", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const texts = yield* notes
      for (let round = 0; round < 8; round++) {
        const fiber = yield* Effect.forkChild(
          sql.withGuard(sql`insert into notes values (1, 'guard')`, Effect.andThen(sql`select 1`, Effect.never))
        )
        yield* Effect.sleep(round * 3)
        yield* Fiber.interrupt(fiber)
      }
      assert.deepStrictEqual(yield* texts, [])
      yield* sql.withGuard(sql`insert into notes values (1, 'guard')`, Effect.void)
      assert.deepStrictEqual(yield* texts, ["guard"])
    })
  )

  it.effect("whose connection is cut fails, and others go on", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const texts = yield* notes
      const cut = yield* Effect.exit(
        sql.withGuard(
          sql`insert into notes values (1, 'guard')`,
          Effect.andThen(sql`select pg_terminate_backend(pg_backend_pid())`, sql`select 1`)
        )
      )
      assert.isTrue(Exit.isFailure(cut))
      yield* Effect.forEach(
        Array.from({ length: 20 }, (_, id) => id),
        (id) => sql.withGuard(sql`insert into notes values (${id}, 'guard')`, sql`select 1`),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(yield* texts, 20)
    })
  )

  it.effect("does not wait for the guard's answer before the rest is on its way", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const owner = yield* OwnerSql
      yield* notes
      yield* sql`insert into notes values (1, 'held')`
      let isAnswered = false
      yield* owner
        .withTransaction(
          Effect.gen(function* () {
            yield* owner`select from notes where id = 1 for update`
            const fiber = yield* Effect.forkChild(
              sql.withGuard(
                Effect.tap(sql`update notes set text = 'guard' where id = 1`, () =>
                  Effect.sync(() => {
                    isAnswered = true
                  })
                ),
                Effect.sync(() => assert.isFalse(isAnswered))
              )
            )
            yield* Effect.sleep(50)
            return fiber
          })
        )
        .pipe(Effect.flatMap(Fiber.join))
      assert.isTrue(isAnswered)
    })
  )
})
