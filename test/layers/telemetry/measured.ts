/**
 * Aggregation as it is meant, over frames in memory: what the answers of the database are compared with.
 * @module
 */
import { type AggregationFunction } from "@argusiq/domain/http/telemetry.ts"

export interface MeasuredFrame {
  readonly ts: number // epoch microseconds
  readonly readingId: string
  readonly metrics: Readonly<Record<string, unknown>>
  readonly quality?: Readonly<Record<string, string>>
}

export const widths = { "1m": 60_000_000, "5m": 300_000_000, "1h": 3_600_000_000, "1d": 86_400_000_000 } as const

const together = (values: ReadonlyArray<unknown>, fn: AggregationFunction): unknown => {
  if (fn === "count") return values.length
  if (fn === "first") return values[0]
  if (fn === "last") return values.at(-1)
  const numbers = values.flatMap((value) => (typeof value === "number" || typeof value === "boolean" ? [+value] : []))
  if (numbers.length === 0) return undefined
  if (fn === "min") return Math.min(...numbers)
  if (fn === "max") return Math.max(...numbers)
  if (numbers.some((number) => Math.abs(number) > 1e290)) return undefined
  const sum = numbers.reduce((sum, number) => sum + number, 0)
  return fn === "sum" ? sum : sum / numbers.length
}

/** By the beginning of the bucket, in epoch microseconds, ascending. */
export const aggregate = (
  frames: ReadonlyArray<MeasuredFrame>,
  key: string,
  width: number,
  fn: AggregationFunction
): ReadonlyArray<readonly [bucket: number, value: unknown]> => {
  const sorted = frames.toSorted((a, b) => a.ts - b.ts || (a.readingId < b.readingId ? -1 : 1))
  const buckets = new Map<number, Array<unknown>>()
  for (const { metrics, quality, ts } of sorted) {
    if (!Object.hasOwn(metrics, key) || quality?.[key] === "bad") continue
    const bucket = Math.floor(ts / width) * width
    const values = buckets.get(bucket)
    if (values === undefined) buckets.set(bucket, [metrics[key]])
    else values.push(metrics[key])
  }
  return [...buckets].flatMap(([bucket, values]) => {
    const value = together(values, fn)
    return value === undefined ? [] : [[bucket, value] as const]
  })
}
