/**
 * What is told of one entity's telemetry: per metric the latest by its own timestamp, and no more often than a screen needs.
 * Instants go forward only: what is told of a metric is never older than what was told before.
 * @module
 */
import { isoFromMicros } from "../http/scalars.ts"
import type { Instant } from "../ids.ts"
import type { MetricValue, Quality } from "../readings.ts"

/** At most four times a second. */
export const TOLD_EVERY_MILLIS = 250
/** A value longer than this, as JSON, is not told, only that it is there. */
export const MAX_VALUE_LENGTH = 16_384
/** Metrics of which the instant is remembered. With more, for a device that makes up names, all are forgotten at times. */
const MAX_METRICS = 10_000

export interface Measured {
  readonly ts: Instant
  readonly metrics: Readonly<Record<string, MetricValue>>
  readonly quality?: Readonly<Record<string, Quality>>
  /** Of an asset. */
  readonly score?: number | undefined
}

export interface LatestTold {
  readonly metrics: Readonly<Record<string, MetricValue>>
  readonly timestamp: string
  readonly timestamps?: Readonly<Record<string, string>>
  readonly quality?: Readonly<Record<string, Quality>>
  readonly omitted?: ReadonlyArray<string>
}

export interface Told {
  readonly latest: LatestTold
  /** The last one known; undefined without one. */
  readonly score: number | undefined
  /** When `score` is another than was told before. */
  readonly scoreChange: { readonly previous: number | undefined; readonly at: string } | undefined
}

interface Value {
  readonly value: MetricValue
  readonly ts: Instant
  readonly quality: Quality | undefined
}

const isTooLong = (value: MetricValue): boolean =>
  typeof value === "string"
    ? value.length > MAX_VALUE_LENGTH
    : typeof value === "object" && JSON.stringify(value).length > MAX_VALUE_LENGTH

/** `now` is in milliseconds of any clock that does not go back. */
export class LatestValues {
  readonly #latest = new Map<string, Instant>()
  #pending = new Map<string, Value>()
  #nextAt = -Infinity
  #score: { readonly score: number; readonly ts: Instant } | undefined
  #toldScore: number | undefined

  /** @param score what is known of it before anything is told */
  constructor(score?: number) {
    this.#toldScore = score
  }

  /** Of equal timestamps the one that came last counts. */
  offer({ metrics, quality, score, ts }: Measured): void {
    if (score !== undefined && ts >= (this.#score?.ts ?? -Infinity)) this.#score = { score, ts }
    if (this.#latest.size > MAX_METRICS) this.#latest.clear()
    for (const key of Object.keys(metrics)) {
      const before = this.#latest.get(key)
      if (before !== undefined && ts < before) continue
      this.#latest.set(key, ts)
      this.#pending.set(key, { value: metrics[key] as MetricValue, ts, quality: quality?.[key] })
    }
  }

  /** What was measured at that instant is not so. Whether something of it was told; what comes next then counts whatever its time. */
  retract(ts: Instant): boolean {
    let wasTold = false
    for (const [key, latest] of this.#latest) {
      if (latest !== ts) continue
      this.#latest.delete(key)
      if (!this.#pending.delete(key)) wasTold = true
    }
    if (this.#score?.ts === ts) this.#score = undefined
    return wasTold
  }

  /** When there is something to tell: when it may be told; undefined: there is nothing. */
  get dueAt(): number | undefined {
    return this.#pending.size === 0 ? undefined : this.#nextAt
  }

  /** What is to be told by now, once; undefined: nothing, or not yet. */
  take(now: number): Told | undefined {
    if (this.#pending.size === 0 || now < this.#nextAt) return undefined
    this.#nextAt = now + TOLD_EVERY_MILLIS
    const pending = this.#pending
    this.#pending = new Map()
    return { latest: merged(pending), score: this.#score?.score, scoreChange: this.#changeOfScore() }
  }

  #changeOfScore(): Told["scoreChange"] {
    const present = this.#score
    if (present === undefined || present.score === this.#toldScore) return undefined
    const previous = this.#toldScore
    this.#toldScore = present.score
    return { previous, at: isoFromMicros(present.ts) }
  }
}

const merged = (pending: ReadonlyMap<string, Value>): LatestTold => {
  let newest = -Infinity
  for (const { ts } of pending.values()) newest = Math.max(newest, ts)
  const metrics: Record<string, MetricValue> = {}
  const timestamps: Record<string, string> = {}
  const qualities: Record<string, Quality> = {}
  const omitted: Array<string> = []
  let hasOlder = false
  let hasQuality = false
  for (const [key, { quality, ts, value }] of pending) {
    if (isTooLong(value)) {
      omitted.push(key)
      continue
    }
    metrics[key] = value
    if (ts !== newest) {
      timestamps[key] = isoFromMicros(ts)
      hasOlder = true
    }
    if (quality !== undefined && quality !== "good") {
      qualities[key] = quality
      hasQuality = true
    }
  }
  return {
    metrics,
    timestamp: isoFromMicros(newest),
    ...(hasOlder && { timestamps }),
    ...(hasQuality && { quality: qualities }),
    ...(omitted.length > 0 && { omitted })
  }
}
