/**
 * Sessions that nobody can use any more.
 * @module
 */
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"

/** Removes sessions that have expired, with their refresh tokens, and answers how many. An ended one stays until then: by its
 * tokens a second use is recognised. */
export const removeExpiredSessions = (sql: SqlClient.SqlClient) =>
  sql<{ n: number }>`
    with removed as (delete from sessions where expires_at < now() returning 1)
    select count(*)::int as n from removed`.pipe(Effect.map((rows) => rows[0]?.n ?? 0))
