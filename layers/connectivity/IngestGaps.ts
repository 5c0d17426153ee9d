/**
 * When messages could not come in, because of us: kept by the bridges, asked by whoever judges silence.
 *
 * A bridge that accepts messages says so once a second. Where nobody has said it for longer than {@link BREAK_MICROS}, whatever
 * the reason, the next one to say it leaves a gap. So no crash can forget one: until a bridge is back, nothing is known of the
 * time since the last word, and when it is, the gap is there in the same transaction.
 * @module
 */
import type { Gap } from "@argusiq/domain/connection-status.ts"
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"

type Sql = SqlClient.SqlClient

/** Three missed words: less is the jitter of a busy machine. */
export const BREAK_MICROS = 3_000_000

/** A gap older than this touches no silence that is still to be judged, and no wait for chunks. */
const OLDEST_GAP = "32 days"

export interface Acceptance {
  /** Nothing is known of what lies after it. */
  readonly acceptedUntil: Instant
  /** Before it. */
  readonly gaps: ReadonlyArray<Gap>
}

const toTime = (sql: Sql, at: Instant) => sql`timestamptz 'epoch' + ${String(at)}::bigint * interval '1 microsecond'`

/** Messages are being accepted, and were until `until`. May be lost in a crash of the machine: that lengthens a gap. */
export const noteAccepting = (sql: Sql, until: Instant) =>
  Effect.mapError(
    sql.withTransaction(
      Effect.gen(function* () {
        const [row] = yield* sql<{ accepted_until: bigint }>`
        select (extract(epoch from accepted_until) * 1000000)::bigint as accepted_until,
          set_config('synchronous_commit', 'off', true)
        from ingest_heartbeat for update`
        const before = Number(row?.accepted_until ?? 0)
        if (until <= before) return
        if (until - before > BREAK_MICROS) {
          yield* sql`insert into ingest_gaps ("from", "to") values (${toTime(sql, before)}, ${toTime(sql, until)})
          on conflict ("from") do update set "to" = greatest(ingest_gaps."to", excluded."to")`
        }
        yield* sql`update ingest_heartbeat set accepted_until = ${toTime(sql, until)}`
      })
    ),
    (cause) => new DatabaseUnavailable({ cause })
  )

/** As of one instant, so that no gap can be missing before `acceptedUntil`. */
export const readAcceptance = (sql: Sql) =>
  sql<{ accepted_until: bigint; from: bigint | null; to: bigint | null }>`
    select (extract(epoch from accepted_until) * 1000000)::bigint as accepted_until,
      (extract(epoch from gap."from") * 1000000)::bigint as "from", (extract(epoch from gap."to") * 1000000)::bigint as "to"
    from ingest_heartbeat
    left join ingest_gaps gap on gap."to" > accepted_until - interval '${sql.literal(OLDEST_GAP)}'
    order by gap."from"
  `.pipe(
    Effect.map((rows): Acceptance => ({
      acceptedUntil: Number(rows[0]?.accepted_until ?? 0),
      gaps: rows.flatMap(({ from, to }) =>
        from === null || to === null ? [] : [{ from: Number(from), to: Number(to) }]
      )
    })),
    Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
  )

/** Removes the gaps that nobody reads any more, and answers how many. They count from the last word, not from the clock: a
 * platform that comes back after months still knows of what lay before. Needs the owner's rights. */
export const forgetGaps = (sql: Sql) =>
  sql<{ n: number }>`
    with removed as (
      delete from ingest_gaps using ingest_heartbeat
      where "to" <= accepted_until - interval '${sql.literal(OLDEST_GAP)}' returning 1)
    select count(*)::int as n from removed`.pipe(Effect.map((rows) => rows[0]?.n ?? 0))
