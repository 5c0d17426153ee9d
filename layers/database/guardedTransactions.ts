/**
 * Transactions whose statements do not wait for one another: BEGIN, a guard and what follows it leave in one write, and
 * PostgreSQL answers them together. A consumer's batch so waits for two answers, not for four or more.
 *
 * Each statement is a cycle of its own in PostgreSQL's extended protocol, answered in order; after one that fails the others
 * fail too, up to the ROLLBACK (PostgreSQL, "Pipelining" in "Message Flow").
 * @module
 */
import { type PgClient, type PgConnection, PgPool } from "@effect/sql-pg"
import { Effect, Exit, Fiber } from "effect"
import type { SqlConnection } from "effect/sql"
import { SqlError, UnknownError } from "effect/sql/SqlError"

/**
 * `rest` in a transaction that `guard` begins, one statement of the same client. The guard has to fail where the transaction
 * must not come about: `rest` is under way before it is answered. Fails with the first failure in the order of the statements.
 * `rest` has no transactions of its own.
 */
export type WithGuard = <GE, A, E, R>(
  guard: Effect.Effect<unknown, GE>,
  rest: Effect.Effect<A, E, R>
) => Effect.Effect<A, GE | E | SqlError, R>

const asSqlConnection = (connection: PgConnection.PgConnection): SqlConnection.Connection => {
  const execute: SqlConnection.Connection["execute"] = (sql, params, transform) =>
    Effect.map(connection.query(sql, params), ({ rows }) => transform?.(rows) ?? rows)
  return {
    execute,
    executeUnprepared: (sql, params, transform) =>
      Effect.map(connection.query(sql, params, false), ({ rows }) => transform?.(rows) ?? rows),
    executeRaw: (sql, params) => connection.query(sql, params),
    executeValues: (sql, params) => connection.queryValues(sql, params),
    executeValuesUnprepared: (sql, params) => connection.queryValues(sql, params, false),
    executeStream: (sql, params) => connection.stream(sql, params)
  }
}

/** Ends with COMMIT; PostgreSQL answers that with ROLLBACK where a statement has failed. */
const commit = (connection: PgConnection.PgConnection) =>
  Effect.flatMap(connection.query("COMMIT"), ({ command }) =>
    command === "ROLLBACK"
      ? Effect.fail(
          new SqlError({
            reason: new UnknownError({
              cause: new Error("A failed transaction was rolled back at its COMMIT"),
              message: "A failed transaction was rolled back at its COMMIT",
              operation: "commit"
            })
          })
        )
      : Effect.void
  )

/** On connections of their own, each of which one transaction has at a time. */
export const makeWithGuard = Effect.fnUntraced(function* (sql: PgClient.PgClient, config: PgPool.Config) {
  const pool = yield* PgPool.make({ ...config, multiplex: true, multiplexConcurrency: 1 })
  const withGuard: WithGuard = <GE, A, E, R>(guard: Effect.Effect<unknown, GE>, rest: Effect.Effect<A, E, R>) =>
    Effect.uninterruptibleMask((restore) =>
      pool.use((connection) =>
        Effect.gen(function* () {
          const transaction = [asSqlConnection(connection), 0] as const
          // Each is on its way before the next one starts: that order is PostgreSQL's.
          const beginning = yield* Effect.forkChild(connection.query("BEGIN"), { startImmediately: true })
          const guarding = yield* Effect.forkChild(Effect.provideService(guard, sql.transactionService, transaction), {
            startImmediately: true
          })
          const done = yield* Effect.exit(restore(Effect.provideService(rest, sql.transactionService, transaction)))
          const begun = yield* Fiber.await(beginning)
          const guarded = yield* Fiber.await(guarding)
          if (Exit.isSuccess(begun) && Exit.isSuccess(guarded) && Exit.isSuccess(done)) {
            yield* commit(connection)
            return done.value
          }
          yield* Effect.catch(connection.query("ROLLBACK"), () => pool.invalidate(connection))
          if (Exit.isFailure(begun)) return yield* Effect.failCause(begun.cause)
          if (Exit.isFailure(guarded)) return yield* Effect.failCause(guarded.cause)
          return yield* done
        })
      )
    ) as Effect.Effect<A, GE | E | SqlError, R>
  return withGuard
})
