/**
 * One device's values as they were measured, page by page.
 * @module
 */
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { type DataPoint } from "@argusiq/domain/http/telemetry.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { type Fragment } from "effect/sql/Statement"
import { encodeCursor, mostPoints, placeOf, SeriesCollector } from "./seriesPage.ts"
import { type HistoryRequest } from "./TelemetryHistory.ts"

const timestamp = (sql: SqlClient.SqlClient, micros: Instant): Fragment => sql`${isoFromMicros(micros)}::timestamptz`

interface FrameRow {
  readonly ts: number
  readonly reading_id: string
  readonly metrics: Readonly<Record<string, DataPoint["value"]>>
  readonly quality: Readonly<Record<string, NonNullable<DataPoint["quality"]>>> | null
}

/** The frames that the request asks for, after its cursor. */
export const framesWhere = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, request: HistoryRequest) {
  const place = yield* placeOf(request, 3)
  const where: Array<Fragment> = [
    sql`entity_id = ${request.deviceId}::uuid`,
    sql`ts >= ${timestamp(sql, request.from)}`,
    sql`ts < ${timestamp(sql, request.to)}`
  ]
  if (place !== undefined) {
    const beyond = sql.literal(request.order === "asc" ? ">" : "<")
    where.push(sql`(ts, reading_id) ${beyond} (${timestamp(sql, place[1])}, ${place[2] ?? ""}::uuid)`)
  }
  if (request.metricKeys.length > 0) where.push(sql`jsonb_exists_any(metrics, ${request.metricKeys}::text[])`)
  return where
})

/** Values as they were measured. A page ends between readings, so that the next goes on with a whole one. */
export const readFrames = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, request: HistoryRequest) {
  const { limit, metricKeys, order } = request
  const where = yield* framesWhere(sql, request)
  const direction = sql.literal(order)
  // Of a reading with many metrics, only the wanted ones travel.
  const wanted =
    metricKeys.length === 0
      ? sql.literal("metrics")
      : sql`(select jsonb_object_agg(key, metrics -> key) from unnest(${metricKeys}::text[]) key where jsonb_exists(metrics, key))`
  const rows = yield* sql<FrameRow>`
    select (extract(epoch from ts) * 1000000)::float8 as ts, reading_id, ${wanted} as metrics, quality
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
