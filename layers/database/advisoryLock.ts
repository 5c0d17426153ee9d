/**
 * Advisory locks of PostgreSQL: of several processes one does something at a time.
 * @module
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"

/** A lock held. It lives as long as its connection. */
export interface AdvisoryLock {
  /** Fails when the connection has broken, and the lock with it. */
  readonly check: Effect.Effect<void, SqlError>
}

/** Tries to take the lock of that name, once, until the scope closes; undefined: another process has it. */
export const tryAdvisoryLock = Effect.fn("advisoryLock.try")(function* (sql: SqlClient.SqlClient, name: string) {
  const connection = yield* sql.reserve
  const ask = (question: string, parameters: ReadonlyArray<string>) =>
    connection.executeUnprepared(question, parameters, undefined)
  const [answer] = yield* ask("select pg_try_advisory_lock(hashtext($1)) as taken", [name])
  if ((answer as { readonly taken: boolean } | undefined)?.taken !== true) return undefined
  yield* Effect.addFinalizer(() => Effect.ignore(ask("select pg_advisory_unlock(hashtext($1))", [name])))
  return { check: Effect.asVoid(ask("select 1", [])) } satisfies AdvisoryLock
})
