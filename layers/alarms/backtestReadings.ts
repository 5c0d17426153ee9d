/**
 * An entity's stored readings in the order in which a fold sees them, with nothing but what a rule reads; in pages, each as a few
 * arrays: rows would cost more than folding them does.
 * @module
 */
import type { Instant } from "@argusiq/domain/ids.ts"
import type { Kind } from "@argusiq/domain/rule/compile-rule.ts"
import type { RuleInput } from "@argusiq/domain/rule/rule-fold.ts"
import type { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { bigintegers } from "../telemetry/columns.ts"

const PAGE = 20_000
/** As live: a reading whose clock is further ahead takes no part, nor what came too late to an asset. */
const AHEAD = "interval '60 seconds'"

interface PageRow {
  readonly ts: ReadonlyArray<number> | null
  readonly values: ReadonlyArray<number> | null
  readonly texts: ReadonlyArray<string> | null
  readonly last_ts: number | null
  readonly last_id: string | null
  readonly count: number
}

export interface ReadingPage {
  readonly inputs: ReadonlyArray<RuleInput>
  /** Of its last reading; undefined: it is the last page. */
  readonly after: Place | undefined
}
export interface Place {
  readonly ts: Instant
  readonly readingId: string
}

/** Exact to the microsecond when rounded, and a fifth of the price of `extract`. */
const micros = "date_part('epoch', ts) * 1000000"

const good = (sql: PgClient.PgClient, key: string) =>
  sql`case when quality ->> ${key} = 'bad' then null else metrics -> ${key} end`

/** What of a reading its page asks for, as `item`; and what it then says: nothing where that is null. */
const columnsOf = (sql: PgClient.PgClient, kind: Kind) => {
  switch (kind._tag) {
    case "Expression": {
      const { reads } = kind
      const items =
        reads === undefined
          ? sql.literal(
              "metrics - coalesce(array(select key from jsonb_each_text(quality) where value = 'bad'), '{}'::text[])"
            )
          : sql`jsonb_build_array(${sql.csv(reads.map((key) => good(sql, key)))})`
      return { item: items, value: sql.literal("0"), text: sql.literal("item::text") }
    }
    case "NoData":
      return {
        item: kind.key === undefined ? sql.literal("'{}'::jsonb") : good(sql, kind.key),
        value: sql.literal("0"),
        text: sql.literal("null::text")
      }
    default:
      return {
        item: good(sql, kind.key),
        value: sql.literal(
          "case jsonb_typeof(item) when 'number' then item::float8 when 'boolean' then item::boolean::int::float8 end"
        ),
        text: sql.literal("null::text")
      }
  }
}

const metricsOf = (kind: Kind, text: string | undefined, value: number): RuleInput["metrics"] => {
  if (kind._tag !== "Expression") return kind.key === undefined ? {} : { [kind.key]: value }
  if (kind.reads === undefined) return JSON.parse(text!) as RuleInput["metrics"]
  const values = JSON.parse(text!) as ReadonlyArray<RuleInput["metrics"][string] | null>
  const metrics: Record<string, RuleInput["metrics"][string]> = {}
  kind.reads.forEach((key, place) => {
    const read = values[place]
    if (read !== null && read !== undefined) metrics[key] = read
  })
  return metrics
}

const inputsOf = (kind: Kind, { texts, ts, values }: PageRow, place: number): ReadonlyArray<RuleInput> =>
  (ts ?? []).map((at, index) => ({
    ts: Math.round(at),
    // Stored readings differ; their order is all that counts.
    readingId: String(place + index),
    receivedAt: at,
    metrics: metricsOf(kind, texts?.[index], values![index]!)
  }))

/** In the transaction that the fiber is in, which sees the organization. */
export const readPage = Effect.fnUntraced(function* (
  sql: PgClient.PgClient,
  kind: Kind,
  entityId: string,
  from: Instant,
  to: Instant,
  after: Place | undefined,
  place: number
) {
  const { item, text, value } = columnsOf(sql, kind)
  const at = (instant: Instant) =>
    sql`(timestamptz 'epoch' + (${bigintegers([BigInt(instant)])})[1] * interval '1 microsecond')`
  const start =
    after === undefined
      ? sql`ts >= ${at(from)}`
      : sql`ts >= ${at(after.ts)} and (ts, reading_id) > (${at(after.ts)}, ${after.readingId}::uuid)`
  const texts =
    kind._tag === "Expression"
      ? sql.literal("array_agg(text) filter (where value is not null)")
      : sql.literal("null::text[]")
  // The limits keep the planner from working each of a reading's parts out several times.
  const [row] = yield* sql<PageRow>`
    select array_agg(at) filter (where value is not null) as ts, array_agg(value) filter (where value is not null) as values,
      ${texts} as texts, max(at) as last_ts, (array_agg(reading_id))[count(*)]::text as last_id, count(*)::int as count
    from (
      select at, reading_id, case when item is not null and is_timely then ${value} end as value, ${text} as text
      from (
        select ${sql.literal(micros)} as at, reading_id, not late and ts - received_at <= ${sql.literal(AHEAD)} as is_timely, ${item} as item
        from telemetry_frames
        where entity_id = ${entityId}::uuid and ${start} and ts < ${at(to)}
        order by ts, reading_id limit ${PAGE}
      ) read limit ${PAGE}
    ) said`
  if (row === undefined) return { inputs: [], after: undefined } satisfies ReadingPage
  const isLast = row.count < PAGE || row.last_ts === null || row.last_id === null
  return {
    inputs: inputsOf(kind, row, place),
    after: isLast ? undefined : { ts: Math.round(row.last_ts!), readingId: row.last_id! }
  } satisfies ReadingPage
})
