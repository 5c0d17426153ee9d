/**
 * Token buckets of one process, the least recently used forgotten first.
 * @module
 */
import { Clock, Effect, Layer } from "effect"
import { exceeded, granted, RateLimit } from "./RateLimit.ts"

const MINUTE_MILLIS = 60_000

interface Bucket {
  readonly perMinute: number
  readonly tokens: number
  readonly filledAt: number // epoch milliseconds
}

const filled = (bucket: Bucket | undefined, perMinute: number, now: number): number => {
  if (bucket === undefined || bucket.perMinute !== perMinute) return perMinute
  const elapsed = Math.max(0, now - bucket.filledAt)
  return Math.min(perMinute, bucket.tokens + (elapsed * perMinute) / MINUTE_MILLIS)
}

/** `maxKeys`: a key that is forgotten starts with a full bucket. */
export const makeMemoryRateLimit = (options: { readonly maxKeys: number } = { maxKeys: 100_000 }) => {
  const buckets = new Map<string, Bucket>()
  return RateLimit.of({
    take: (key, perMinute) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        if (perMinute <= 0) return granted
        const tokens = filled(buckets.get(key), perMinute, now)
        const enough = tokens >= 1
        buckets.delete(key)
        if (buckets.size >= options.maxKeys) buckets.delete(buckets.keys().next().value!)
        buckets.set(key, { perMinute, tokens: enough ? tokens - 1 : tokens, filledAt: now })
        return enough ? granted : exceeded(((1 - tokens) * MINUTE_MILLIS) / perMinute)
      })
  })
}

export const layer = (options?: { readonly maxKeys: number }): Layer.Layer<RateLimit> =>
  Layer.sync(RateLimit, () => makeMemoryRateLimit(options))
