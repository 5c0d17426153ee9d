/**
 * Notifications and webhook deliveries that are over and old.
 * @module
 */
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"

/** A round comes again in minutes; fewer rows at once hold up nobody. */
const MOST_AT_ONCE = 20_000

/** Removes what was made longer ago and waits for no further attempt, marks of who has read it included; answers how many. */
export const removeOldNotices = (sql: SqlClient.SqlClient, keepMillis: number) =>
  Effect.map(
    Effect.forEach(
      ["notifications", "webhook_deliveries"],
      (table) =>
        sql<{ n: number }>`
        with removed as (
          delete from ${sql(table)} where id in (
            select id from ${sql(table)}
            where state <> 'pending' and created_at < now() - ${keepMillis}::float8 * interval '1 millisecond'
            limit ${MOST_AT_ONCE})
          returning 1)
        select count(*)::int as n from removed`
    ),
    (removed) => removed.flat().reduce((sum, { n }) => sum + n, 0)
  )
