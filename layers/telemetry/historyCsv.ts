/**
 * History as CSV (RFC 4180): lines `timestamp,metricKey,value,quality`, without quality for buckets, in the order of time. A
 * cell of text that a spreadsheet would take for a formula begins with an apostrophe; numbers are as they are, also the
 * negative ones. A value that is an object or an array is its JSON.
 * @module
 */
import { type Aggregation, type DataPoint } from "@argusiq/domain/http/telemetry.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { readBuckets } from "./bucketQueries.ts"
import { framesWhere } from "./historyQueries.ts"
import { encodeCursor } from "./seriesPage.ts"
import { type HistoryRequest } from "./TelemetryHistory.ts"

const mightBeFormula = /^[=+\-@\t\r]/
const mustBeQuoted = /[",\r\n]/

export const textCell = (text: string): string => {
  const harmless = mightBeFormula.test(text) ? `'${text}` : text
  return mustBeQuoted.test(harmless) ? `"${harmless.replaceAll('"', '""')}"` : harmless
}
export const valueCell = (value: DataPoint["value"]): string => {
  if (typeof value === "number" || typeof value === "boolean") return String(value)
  return textCell(typeof value === "string" ? value : JSON.stringify(value))
}
/** From the text of a jsonb value. Numbers, as PostgreSQL writes them, are JavaScript's where these need no exponent. */
const cellOfJson = (json: string): string => {
  const first = json.charCodeAt(0)
  const isNumber = first === 45 || (first >= 48 && first <= 57)
  return isNumber && json.length < 18 && !json.includes("0.000000") ? json : valueCell(JSON.parse(json))
}

/** As JSON tells it: milliseconds, or microseconds where there are any. From `2026-01-31 08:00:00[.f…]`. */
const isoOf = (timestamp: string): string => {
  const whole = `${timestamp.slice(0, 10)}T${timestamp.slice(11, 19)}`
  const digits = timestamp.length - 20
  if (digits <= 0) return `${whole}.000Z`
  return `${whole}.${timestamp.slice(20).padEnd(digits <= 3 ? 3 : 6, "0")}Z`
}

export const csvHeader = (aggregation: Aggregation): string =>
  aggregation === "none" ? "timestamp,metricKey,value,quality\r\n" : "timestamp,metricKey,value\r\n"

/** A page of one metric. PostgreSQL puts it together: a row of the protocol for each value costs more than all the rest. */
interface MetricPage {
  readonly lines: string | null // instant, JSON of the value and quality, apart by tabs, which JSON does not contain
  readonly count: number
  readonly last_reading: string | null // of a full page
}

const linesOfOne = (lines: ReadonlyArray<string>, metricKey: string): string => {
  const key = textCell(metricKey)
  let text = ""
  for (const line of lines) {
    const value = line.indexOf("\t")
    const quality = line.lastIndexOf("\t")
    text += `${isoOf(line.slice(0, value))},${key},${cellOfJson(line.slice(value + 1, quality))},${line.slice(quality + 1)}\r\n`
  }
  return text
}

interface FrameText {
  readonly at: string
  readonly reading_id: string
  readonly metrics: string // JSON
  readonly quality: string | null // likewise
}

const linesOfMany = (rows: ReadonlyArray<FrameText>, metricKeys: ReadonlyArray<string>): string => {
  let text = ""
  for (const { at, metrics, quality } of rows) {
    const values: Readonly<Record<string, DataPoint["value"]>> = JSON.parse(metrics)
    const qualities: Readonly<Record<string, string>> = quality === null ? {} : JSON.parse(quality)
    const timestamp = isoOf(at)
    for (const key of metricKeys.length === 0 ? Object.keys(values) : metricKeys) {
      if (!Object.hasOwn(values, key)) continue
      const told = Object.hasOwn(qualities, key) ? qualities[key] : "good"
      text += `${timestamp},${textCell(key)},${valueCell(values[key]!)},${told}\r\n`
    }
  }
  return text
}

const microsOf = (timestamp: string): Instant =>
  Date.parse(`${timestamp.slice(0, 10)}T${timestamp.slice(11, 19)}Z`) * 1_000 +
  Number(timestamp.slice(20).padEnd(6, "0"))

const instantText = "(ts at time zone 'UTC')::text"

/** One page of frames; `limit` frames of `request`. */
const readLinesOfOne = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  request: HistoryRequest,
  metricKey: string
) {
  const { limit, order } = request
  const sorted = sql.literal(`order by ts ${order}, reading_id ${order}`)
  const [page] = yield* sql<MetricPage>`
    select string_agg(${sql.literal(instantText)} || E'\t' || value || E'\t' || quality, E'\n' ${sorted}) as lines,
      count(*)::int as count, (array_agg(reading_id ${sorted}))[${limit}::int]::text as last_reading
    from (
      select ts, reading_id, (metrics -> ${metricKey}::text)::text as value,
        coalesce(quality ->> ${metricKey}::text, 'good') as quality
      from telemetry_frames where ${sql.and(yield* framesWhere(sql, request))}
      ${sorted} limit ${limit}
    ) page`
  if (page === undefined || page.lines === null) return { text: "", count: 0, cursor: undefined }
  const lines = page.lines.split("\n")
  const last = lines.at(-1)!
  const cursor =
    page.last_reading === null
      ? undefined
      : encodeCursor([order, microsOf(last.slice(0, last.indexOf("\t"))), page.last_reading])
  return { text: linesOfOne(lines, metricKey), count: page.count, cursor }
})

const readLinesOfMany = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, request: HistoryRequest) {
  const { metricKeys, order } = request
  const rows = yield* sql<FrameText>`
    select ${sql.literal(instantText)} as at, reading_id::text, metrics::text as metrics, quality::text as quality
    from telemetry_frames where ${sql.and(yield* framesWhere(sql, request))}
    order by ts ${sql.literal(order)}, reading_id ${sql.literal(order)} limit ${request.limit}`
  const last = rows.length === request.limit ? rows.at(-1) : undefined
  const cursor = last === undefined ? undefined : encodeCursor([order, microsOf(last.at), last.reading_id])
  return { text: linesOfMany(rows, metricKeys), count: rows.length, cursor }
})

const readLines = (sql: SqlClient.SqlClient, request: HistoryRequest) => {
  const [only, ...others] = request.metricKeys
  return only !== undefined && others.length === 0 ? readLinesOfOne(sql, request, only) : readLinesOfMany(sql, request)
}

const readBucketLines = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, request: HistoryRequest) {
  const { nextCursor, series } = yield* readBuckets(sql, request)
  const points = series.flatMap(({ data, metricKey }) => data.map((point) => ({ metricKey, ...point })))
  if (series.length > 1) {
    // Their texts sort as their instants do: buckets begin at whole minutes.
    const sign = request.order === "asc" ? 1 : -1
    points.sort((a, b) => (a.timestamp === b.timestamp ? 0 : a.timestamp < b.timestamp ? -sign : sign))
  }
  const text = points.map(
    ({ metricKey, timestamp, value }) => `${timestamp},${textCell(metricKey)},${valueCell(value)}\r\n`
  )
  return {
    text: text.join(""),
    count: new Set(points.map(({ timestamp }) => timestamp)).size,
    cursor: nextCursor ?? undefined
  }
})

/** What a page should come to, so that memory stays bounded, whatever the size of frames. */
const pageCharacters = 400_000
const mostFrames = 4_000
/** Of frames whose size nobody knows yet. */
export const firstFrames = 500
const bucketsAtOnce = 5_000

/**
 * One page; `remaining`: readings or buckets that may still follow, Infinity for all. `request.limit` is the page's own.
 */
export const readCsvPage = Effect.fnUntraced(function* (
  sql: SqlClient.SqlClient,
  request: HistoryRequest,
  remaining: number
) {
  const isMeasured = request.aggregation === "none"
  const limit = Math.min(remaining, isMeasured ? request.limit : bucketsAtOnce)
  const read = isMeasured ? readLines : readBucketLines
  const { count, cursor, text } = yield* read(sql, { ...request, limit })
  const left = remaining - count
  const nextFrames = Math.ceil((pageCharacters * count) / Math.max(1, text.length))
  return {
    text,
    remaining: left,
    request:
      cursor === undefined || left <= 0
        ? undefined
        : { ...request, cursor, limit: Math.min(mostFrames, Math.max(1, nextFrames)) }
  }
})
