/**
 * Windows over what an asset's devices report of one metric: buckets of one minute of event time, by source, so that a
 * backup's values can be left out while a primary reports.
 * @module
 */
import type { Instant } from "../ids.ts"
import type { MetricValue } from "../readings.ts"
import type { LinkRole } from "./asset.ts"
import type { WindowFunction } from "./asset-type.ts"
import { numberOf } from "./health/algorithm.ts"

const MINUTE_MICROS = 60_000_000

/** Without a rule for the metric: how long a silent primary still keeps a backup out. */
export const DEFAULT_WINDOW_SECONDS = 900

/** Per metric; of more the one that reported longest ago is forgotten. */
export const MAX_SOURCES = 64

/** [minute since the epoch, count, sum, min, max]: of the numbers in one minute. */
export type Bucket = readonly [minute: number, count: number, sum: number, min: number, max: number]

/** What one source has reported of one metric. Plain JSON. */
export interface Source {
  readonly role: LinkRole
  /** Of its last value. */
  readonly ts: Instant
  readonly value: MetricValue
  /** The minute of the last value, where the metric has a window; `closed` holds those before it, oldest first. */
  readonly open?: Bucket
  readonly closed?: ReadonlyArray<Bucket>
}
export type Sources = Readonly<Record<string, Source>>

export interface Window {
  readonly seconds: number
  readonly fn: WindowFunction
}

const minuteOf = (ts: Instant): number => Math.floor(ts / MINUTE_MICROS)

const added = (bucket: Bucket | undefined, minute: number, value: number): Bucket =>
  bucket === undefined || bucket[0] !== minute
    ? [minute, 1, value, value, value]
    : [minute, bucket[1] + 1, bucket[2] + value, Math.min(bucket[3], value), Math.max(bucket[4], value)]

const bucketsWith = (source: Source | undefined, ts: Instant, value: number, seconds: number) => {
  const minute = minuteOf(ts)
  const open = added(source?.open, minute, value)
  if (source?.open === undefined) return { open }
  const { closed = [] } = source
  if (source.open[0] === minute) return { open, closed }
  const oldest = minute - seconds / 60
  return { open, closed: [...closed, source.open].filter(([at]) => at > oldest) }
}

/** Adds a value that is newer than all before it, or as new. */
export const observe = (
  sources: Sources | undefined,
  id: string,
  role: LinkRole,
  ts: Instant,
  value: MetricValue,
  window: Window
): Sources => {
  const number = window.fn === "latest" ? undefined : numberOf(value)
  const source =
    number === undefined
      ? { role, ts, value }
      : { role, ts, value, ...bucketsWith(sources?.[id], ts, number, window.seconds) }
  if (sources === undefined) return { [id]: source }
  const all = { ...sources, [id]: source }
  return id in sources || Object.keys(all).length <= MAX_SOURCES ? all : withoutOldest(all)
}

const withoutOldest = (sources: Sources): Sources => {
  let oldest: string | undefined
  for (const id in sources) if (oldest === undefined || sources[id]!.ts < sources[oldest]!.ts) oldest = id
  const { [oldest!]: _, ...rest } = sources
  return rest
}

/** Whether a source counts at an instant: a backup only while no primary has reported within the window. */
const counting = (sources: Sources, ts: Instant, seconds: number): ((source: Source) => boolean) => {
  const from = ts - seconds * 1e6
  for (const id in sources) {
    const source = sources[id]!
    if (source.role === "primary" && source.ts > from) return ({ role }) => role !== "backup"
  }
  return () => true
}

/** Whether what this source has just reported counts. */
export const counts = (sources: Sources, id: string, ts: Instant, { seconds }: Window): boolean =>
  sources[id]!.role !== "backup" || counting(sources, ts, seconds)(sources[id]!)

const latestOf = (sources: Sources, isCounted: (source: Source) => boolean): MetricValue | undefined => {
  let newest: Source | undefined
  for (const id in sources) {
    const source = sources[id]!
    if (isCounted(source) && (newest === undefined || source.ts > newest.ts || preferred(source, newest)))
      newest = source
  }
  return newest?.value
}

/** Of two values of the same instant the primary's. */
const preferred = (source: Source, other: Source): boolean =>
  source.ts === other.ts && source.role === "primary" && other.role !== "primary"

/** The metric's value at an instant not before the last observation; undefined when nothing counts. */
export const valueAt = (sources: Sources, ts: Instant, { fn, seconds }: Window): MetricValue | undefined => {
  const isCounted = counting(sources, ts, seconds)
  if (fn === "latest") return latestOf(sources, isCounted)
  const oldest = minuteOf(ts) - seconds / 60
  let count = 0
  let sum = 0
  let min = Infinity
  let max = -Infinity
  const take = (bucket: Bucket) => {
    if (bucket[0] <= oldest) return
    count += bucket[1]
    sum += bucket[2]
    if (bucket[3] < min) min = bucket[3]
    if (bucket[4] > max) max = bucket[4]
  }
  for (const id in sources) {
    const source = sources[id]!
    if (source.open === undefined || !isCounted(source)) continue
    if (source.closed !== undefined) for (const bucket of source.closed) take(bucket)
    take(source.open)
  }
  if (count === 0) return latestOf(sources, isCounted)
  switch (fn) {
    case "count":
      return count
    case "sum":
      return sum
    case "avg":
      return sum / count
    case "min":
      return min
    case "max":
      return max
  }
}
