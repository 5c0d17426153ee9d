/**
 * Reading one device's frames page by page, as they are or in buckets of time.
 * @module
 */
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { type Aggregation, type AggregationFunction, type DataPoint } from "@argusiq/domain/http/telemetry.ts"
import { type Instant, Instant as InstantSchema, Uuid } from "@argusiq/domain/ids.ts"
import { Effect, Result, Schema } from "effect"
import { type SqlClient } from "effect/sql"
import { type Fragment } from "effect/sql/Statement"
import { BadCursor } from "../registry/refusals.ts"
import { type History, type HistoryRequest } from "./TelemetryHistory.ts"

/** An answer holds no more values than this, however many metrics a reading has. */
const mostPoints = 50_000

/** The last frame of a page (its instant and reading), or the last bucket (its beginning). */
const Place = Schema.Union([
  Schema.Tuple([Schema.Literals(["asc", "desc"]), InstantSchema, Uuid]),
  Schema.Tuple([Schema.Literals(["asc", "desc"]), InstantSchema])
])
type Place = typeof Place.Type
const decodePlace = Schema.decodeUnknownResult(Schema.fromJsonString(Place))
const encodeCursor = (place: Place) => Buffer.from(JSON.stringify(place)).toString("base64url")

const placeOf = (request: HistoryRequest, length: 2 | 3): Effect.Effect<Place | undefined, BadCursor> => {
  if (request.cursor === undefined) return Effect.succeed(undefined)
  const place = decodePlace(Buffer.from(request.cursor, "base64url").toString("utf8"))
  return Result.isSuccess(place) && place.success[0] === request.order && place.success.length === length
    ? Effect.succeed(place.success)
    : Effect.fail(new BadCursor())
}

const timestamp = (sql: SqlClient.SqlClient, micros: Instant): Fragment => sql`${isoFromMicros(micros)}::timestamptz`
const micros = (column: "ts" | "bucket") => `(extract(epoch from ${column}) * 1000000)::float8`

class SeriesCollector {
  readonly #series = new Map<string, Array<DataPoint>>()
  #count = 0

  constructor(metricKeys: ReadonlyArray<string>) {
    for (const key of metricKeys) this.#series.set(key, [])
  }
  get count(): number {
    return this.#count
  }
  add(metricKey: string, point: DataPoint): void {
    const data = this.#series.get(metricKey)
    if (data === undefined) this.#series.set(metricKey, [point])
    else data.push(point)
    this.#count++
  }
  history(nextCursor: string | null): History {
    const series = Array.from(this.#series, ([metricKey, data]) => ({ metricKey, data }))
    return { series, count: this.#count, nextCursor }
  }
}

interface FrameRow {
  readonly ts: number
  readonly reading_id: string
  readonly metrics: Readonly<Record<string, DataPoint["value"]>>
  readonly quality: Readonly<Record<string, NonNullable<DataPoint["quality"]>>> | null
}

/** Values as they were measured. A page ends between readings, so that the next goes on with a whole one. */
export const readFrames = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, request: HistoryRequest) {
  const { limit, metricKeys, order } = request
  const place = yield* placeOf(request, 3)
  const direction = sql.literal(order)
  const where: Array<Fragment> = [
    sql`entity_id = ${request.deviceId}::uuid`,
    sql`ts >= ${timestamp(sql, request.from)}`,
    sql`ts < ${timestamp(sql, request.to)}`
  ]
  if (place !== undefined) {
    const beyond = sql.literal(order === "asc" ? ">" : "<")
    where.push(sql`(ts, reading_id) ${beyond} (${timestamp(sql, place[1])}, ${place[2] ?? ""}::uuid)`)
  }
  if (metricKeys.length > 0) where.push(sql`jsonb_exists_any(metrics, ${metricKeys}::text[])`)
  // Of a reading with many metrics, only the wanted ones travel.
  const wanted =
    metricKeys.length === 0
      ? sql.literal("metrics")
      : sql`(select jsonb_object_agg(key, metrics -> key) from unnest(${metricKeys}::text[]) key where jsonb_exists(metrics, key))`
  const rows = yield* sql<FrameRow>`
    select ${sql.literal(micros("ts"))} as ts, reading_id, ${wanted} as metrics, quality
    from telemetry_frames where ${sql.and(where)}
    order by ts ${direction}, reading_id ${direction} limit ${limit + 1}`

  const collected = new SeriesCollector(metricKeys)
  let last: FrameRow | undefined
  for (const row of rows.slice(0, limit)) {
    const keys = Object.keys(row.metrics)
    if (last !== undefined && collected.count + keys.length > mostPoints) break
    const time = isoFromMicros(Math.round(row.ts))
    for (const key of keys) {
      collected.add(key, { timestamp: time, value: row.metrics[key]!, quality: row.quality?.[key] ?? "good" })
    }
    last = row
  }
  const isMore = last !== undefined && last !== rows.at(-1)
  return collected.history(
    isMore && last !== undefined ? encodeCursor([order, Math.round(last.ts), last.reading_id]) : null
  )
})

const widths: Readonly<Record<Exclude<Aggregation, "none">, string>> = {
  "1m": "1 minute",
  "5m": "5 minutes",
  "1h": "1 hour",
  "1d": "1 day"
}
const functions: Readonly<Record<AggregationFunction, string>> = {
  avg: "to_jsonb(avg(number))",
  min: "to_jsonb(min(number))",
  max: "to_jsonb(max(number))",
  sum: "to_jsonb(sum(number))",
  count: "to_jsonb(count(*)::int)",
  first: "(array_agg(value order by ts, reading_id))[1]",
  last: "(array_agg(value order by ts desc, reading_id desc))[1]"
}

interface BucketRow {
  readonly bucket: number
  readonly metric_key: string
  readonly value: DataPoint["value"] | null
}

/** Buckets aligned to UTC. A page ends between buckets. */
export const readBuckets = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, request: HistoryRequest) {
  const { aggregation, fn, limit, metricKeys, order } = request
  if (aggregation === "none" || metricKeys.length === 0) return new SeriesCollector(metricKeys).history(null)
  const place = yield* placeOf(request, 2)
  const width = sql.literal(`interval '${widths[aggregation]}'`)
  const direction = sql.literal(order)
  const where: Array<Fragment> = [
    sql`entity_id = ${request.deviceId}::uuid`,
    sql`ts >= ${timestamp(sql, request.from)}`,
    sql`ts < ${timestamp(sql, request.to)}`
  ]
  if (place !== undefined) {
    where.push(
      order === "asc" ? sql`ts >= ${timestamp(sql, place[1])} + ${width}` : sql`ts < ${timestamp(sql, place[1])}`
    )
  }
  // A bucket has at most one row for each key, so these rows hold more than `limit` whole buckets where there are more.
  const mostRows = Math.min((limit + 1) * metricKeys.length, mostPoints + metricKeys.length)
  const rows = yield* sql<BucketRow>`
    select ${sql.literal(micros("bucket"))} as bucket, metric_key, ${sql.literal(functions[fn])} as value from (
      select date_bin(${width}, ts, timestamptz 'epoch') as bucket, ts, reading_id, key as metric_key, metrics -> key as value,
        case jsonb_typeof(metrics -> key)
          when 'number' then (metrics -> key)::float8 when 'boolean' then (metrics -> key)::boolean::int::float8 end as number
      from telemetry_frames, unnest(${metricKeys}::text[]) key
      where ${sql.and(where)} and jsonb_exists(metrics, key) and coalesce(quality ->> key, 'good') <> 'bad'
    ) measured
    group by bucket, metric_key order by bucket ${direction}, metric_key limit ${mostRows}`

  const collected = new SeriesCollector(metricKeys)
  // The last bucket may be cut off by the limit on rows.
  const isCut = rows.length === mostRows
  const cutBucket = isCut ? rows.at(-1)?.bucket : undefined
  let buckets = 0
  let current: number | undefined
  for (const row of rows) {
    if (row.bucket === cutBucket || (row.bucket !== current && buckets === limit)) {
      const end = current ?? row.bucket
      return collected.history(encodeCursor([order, Math.round(end)]))
    }
    if (row.bucket !== current) buckets++
    current = row.bucket
    if (row.value !== null) {
      collected.add(row.metric_key, { timestamp: isoFromMicros(Math.round(row.bucket)), value: row.value })
    }
  }
  return collected.history(null)
})
