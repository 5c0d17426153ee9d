/**
 * Refresh tokens that nobody can use any more.
 * @module
 */
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"

/** Removes expired tokens and answers how many. One that was revoked stays until its whole session has expired: by it a
 * token is refused that the session was given at the moment of the revocation. */
export const removeExpiredSessions = (sql: SqlClient.SqlClient) =>
  sql<{ n: number }>`
    with removed as (
      delete from refresh_tokens token
      where expires_at < now() and (revoked_at is null or not exists (
        select from refresh_tokens relative where relative.family = token.family and relative.expires_at >= now()))
      returning 1)
    select count(*)::int as n from removed`.pipe(Effect.map((rows) => rows[0]?.n ?? 0))
