/**
 * One device's values in buckets of time. Minutes are computed from frames; hours and days come from the rollups, but for
 * what is not rolled up yet, what is marked as changed since, and hours that the request cuts in two: these are computed
 * from frames in the same statement, and so in the same snapshot. Where retention has cut the frames, rollups of whole
 * hours are all there is: an hour that the request cuts in two is answered whole.
 * @module
 */
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { type Aggregation, type AggregationFunction, type DataPoint } from "@argusiq/domain/http/telemetry.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { addendOf, numberOf, sumOfAddends, sumOfSums } from "./rollupStatements.ts"
import { encodeCursor, mostPoints, placeOf, SeriesCollector } from "./seriesPage.ts"
import { type HistoryRequest } from "./TelemetryHistory.ts"

type Width = Exclude<Aggregation, "none">
const widths: Readonly<Record<Width, { readonly interval: string; readonly micros: number }>> = {
  "1m": { interval: "interval '1 minute'", micros: 60_000_000 },
  "5m": { interval: "interval '5 minutes'", micros: 300_000_000 },
  "1h": { interval: "interval '1 hour'", micros: 3_600_000_000 },
  "1d": { interval: "interval '1 day'", micros: 86_400_000_000 }
}

/** A column of the rollups, computed from `value` and `number` of frames. */
const columns = {
  count: "count(*)::int",
  numbers: "count(number)::int",
  sum: sumOfAddends,
  min: "min(number)",
  max: "max(number)",
  first: "(array_agg(value order by ts, reading_id))[1]",
  last: "(array_agg(value order by ts desc, reading_id desc))[1]"
}
/** What a function needs of the parts of a bucket, and how it puts them together; `at` is where a part begins. */
const functions: Readonly<
  Record<AggregationFunction, { readonly needs: ReadonlyArray<keyof typeof columns>; readonly together: string }>
> = {
  avg: { needs: ["numbers", "sum"], together: `to_jsonb(${sumOfSums} / nullif(sum(numbers), 0))` },
  min: { needs: ["min"], together: "to_jsonb(min(min))" },
  max: { needs: ["max"], together: "to_jsonb(max(max))" },
  sum: { needs: ["numbers", "sum"], together: `to_jsonb(${sumOfSums})` },
  count: { needs: ["count"], together: "to_jsonb(sum(count)::int)" },
  first: { needs: ["first"], together: "(array_agg(first order by at))[1]" },
  last: { needs: ["last"], together: "(array_agg(last order by at desc))[1]" }
}

const floorTo = (width: "hour" | "day", instant: string) => `date_bin('1 ${width}', ${instant}, timestamptz 'epoch')`

/** $1 the device, $2 and $3 the bounds, $4 the metrics. */
const asked = `
  asked as (select $1::text::uuid as entity, $2::text::timestamptz as lower, $3::text::timestamptz as upper)`

/** `slices`: from when to when frames are to be read. `pieces`: the rollups to be read, hours in `bucket`, too. */
const withRollups = `with ${asked}, progress as (
    select rolled_before, kept_from from rollup_progress
  ), open_hours as (
    select hour from (
      select distinct hour from asked, rollup_dirty
      where entity_id = entity and hour > lower - interval '1 hour' and hour < upper
      union select ${floorTo("hour", "lower")} from asked where lower <> ${floorTo("hour", "lower")}
      union select ${floorTo("hour", "upper")} from asked where upper <> ${floorTo("hour", "upper")}
    ) hours, progress where hour >= kept_from and hour < rolled_before
  ), slices as (
    select greatest(hour, lower) as lower, least(hour + interval '1 hour', upper) as upper from open_hours, asked
    union all
    select greatest(rolled_before, lower), upper from progress, asked where rolled_before < upper
  )`
const hourIsRolled = `(bucket < kept_from or (bucket < rolled_before and bucket >= lower
      and bucket + interval '1 hour' <= upper and bucket not in (select hour from open_hours)))`
const pieces: Readonly<Record<"1h" | "1d", string>> = {
  "1h": `pieces as (
    select rollup.* from asked, progress, telemetry_rollups rollup
    where entity_id = entity and resolution = '1h' and bucket > lower - interval '1 hour' and bucket < upper
      and metric_key = any($4::text[]) and ${hourIsRolled}
  )`,
  "1d": `open_days as (
    select distinct ${floorTo("day", "hour")} as day from (
      select hour from open_hours
      union all select lower from asked where lower <> ${floorTo("day", "lower")}
      union all select upper from asked where upper <> ${floorTo("day", "upper")}
      union all select rolled_before from progress
    ) within (hour)
  ), pieces as (
    select rollup.* from asked, progress, telemetry_rollups rollup
    where entity_id = entity and resolution = '1d' and bucket >= lower and bucket < least(upper, rolled_before)
      and metric_key = any($4::text[]) and bucket not in (select day from open_days)
    union all
    select rollup.* from asked, progress, open_days, telemetry_rollups rollup
    where entity_id = entity and resolution = '1h' and bucket >= day and bucket < day + interval '1 day'
      and bucket > lower - interval '1 hour' and bucket < upper
      and metric_key = any($4::text[]) and ${hourIsRolled}
  )`
}

/** With what PostgreSQL makes of a value once, however many columns are made of it: hence `offset 0`. */
const numbered = (interval: string, columns: string, measured: string) => `
  select bucket, ${columns}, value, number, ${addendOf("number")} as addend
  from (
    select date_bin(${interval}, ts, timestamptz 'epoch') as bucket, ${columns}, value, ${numberOf("value")} as number
    from ${measured} where value is not null
    offset 0
  ) numbers
  offset 0`

/** What the frames of `entity` from `lower` to `upper` have of `key`, but for bad values. */
const valuesOf = (entity: string, lower: string, upper: string, key: string) => `
  entity_id = ${entity} and ts >= ${lower} and ts < ${upper}
    and (quality is null or quality ->> ${key} is distinct from 'bad')`

const [entity, lower, upper] = ["$1::text::uuid", "$2::text::timestamptz", "$3::text::timestamptz"]
const onlyKey = "($4::text[])[1]"

/** Parts of buckets from frames alone: one for each bucket and metric. One metric, the usual case, is spared a join. */
const partsOfFrames = (interval: string, parts: string, hasOneKey: boolean) => {
  const measured = hasOneKey
    ? `(select ts, reading_id, metrics -> ${onlyKey} as value from telemetry_frames
        where ${valuesOf(entity, lower, upper, onlyKey)} offset 0) measured`
    : `(select ts, reading_id, key as metric_key, metrics -> key as value
        from telemetry_frames cross join unnest($4::text[]) key
        where ${valuesOf(entity, lower, upper, "key")} offset 0) measured`
  return `with parts as (
      select bucket, ${hasOneKey ? `${onlyKey} as metric_key` : "metric_key"}, bucket as at, ${parts}
      from (${numbered(interval, hasOneKey ? "ts, reading_id" : "metric_key, ts, reading_id", measured)}) frames
      group by bucket${hasOneKey ? "" : ", metric_key"}
    )`
}

/** Parts of buckets from rollups, and from frames where there are none. */
const partsOfRollups = (width: "1h" | "1d", parts: string, needs: string) => {
  const { interval } = widths[width]
  return `${withRollups}, ${pieces[width]}, measured as (
      select slices.lower as slice, frame.* from asked cross join slices cross join lateral (
        select ts, reading_id, key as metric_key, metrics -> key as value
        from telemetry_frames cross join unnest($4::text[]) key
        where ${valuesOf("entity", "slices.lower", "slices.upper", "key")}
        offset 0
      ) frame
    ), parts as (
      select bucket, metric_key, min(ts) as at, ${parts}
      from (${numbered(interval, "slice, metric_key, ts, reading_id", "measured")}) frames
      group by slice, bucket, metric_key
      union all
      select date_bin(${interval}, bucket, timestamptz 'epoch'), metric_key, bucket, ${needs} from pieces
    )`
}

const statement = (width: Width, fn: AggregationFunction, order: "asc" | "desc", hasOneKey: boolean) => {
  const { needs, together } = functions[fn]
  const parts = needs.map((column) => `${columns[column]} as ${column}`).join(", ")
  const source =
    width === "1h" || width === "1d"
      ? partsOfRollups(width, parts, needs.join(", "))
      : partsOfFrames(widths[width].interval, parts, hasOneKey)
  return `${source}
    select (extract(epoch from bucket) * 1000000)::float8 as bucket, metric_key, ${together} as value
    from parts group by parts.bucket, metric_key order by parts.bucket ${order}, metric_key limit $5::int`
}

interface BucketRow {
  readonly bucket: number
  readonly metric_key: string
  readonly value: DataPoint["value"] | null
}

/**
 * Buckets aligned to UTC. A page ends between buckets. The time asked for is searched in stretches of whole buckets, the
 * first as long as a full page, so that a page costs what it holds and not what the whole request spans.
 */
export const readBuckets = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, request: HistoryRequest) {
  const { aggregation, fn, limit, metricKeys, order } = request
  const collected = new SeriesCollector(metricKeys)
  if (aggregation === "none" || metricKeys.length === 0) return collected.history(null)
  const place = yield* placeOf(request, 2)
  const width = widths[aggregation].micros
  let lower = place !== undefined && order === "asc" ? Math.max(request.from, place[1] + width) : request.from
  let upper = place !== undefined && order === "desc" ? Math.min(request.to, place[1]) : request.to
  const text = statement(aggregation, fn, order, metricKeys.length === 1)

  let buckets = 0
  let current: Instant | undefined
  for (let stretch = (limit + 1) * width; lower < upper; stretch *= 4) {
    const from = order === "asc" ? lower : Math.max(lower, Math.ceil(upper / width) * width - stretch)
    const to = order === "asc" ? Math.min(upper, Math.floor(lower / width) * width + stretch) : upper
    // A bucket has at most one row for each key: these rows hold a bucket more than the page, where there is one.
    const mostRows = Math.min(
      (limit + 1 - buckets) * metricKeys.length,
      mostPoints - collected.count + metricKeys.length
    )
    const rows: ReadonlyArray<BucketRow> = yield* sql.unsafe<BucketRow>(text, [
      request.deviceId,
      isoFromMicros(from),
      isoFromMicros(to),
      metricKeys,
      mostRows
    ])
    // The last bucket may be cut off by the limit on rows.
    const cutBucket = rows.length === mostRows ? rows.at(-1)?.bucket : undefined
    for (const row of rows) {
      if (current !== undefined && (row.bucket === cutBucket || (row.bucket !== current && buckets === limit))) {
        return collected.history(encodeCursor([order, Math.round(current)]))
      }
      if (row.bucket !== current) buckets++
      current = row.bucket
      if (row.value !== null) {
        collected.add(row.metric_key, { timestamp: isoFromMicros(Math.round(row.bucket)), value: row.value })
      }
    }
    if (order === "asc") lower = to
    else upper = from
  }
  return collected.history(null)
})
