/**
 * What all caches of profiles do around a load.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { Config, Effect, Metric, Schema } from "effect"
import { type SqlError } from "effect/sql/SqlError"
import { type LoadingCache } from "../cache/LoadingCache.ts"

const LOAD_TIMEOUT = "5 seconds"

const lookups = Metric.counter("argusiq_profile_cache_lookups_total", { incremental: true })
/** Counts what a cache answered since the last time. */
export const countLookups = (name: string, cache: Pick<LoadingCache<unknown, unknown>, "takeCounts">) => {
  const hits = Metric.withAttributes(lookups, { service: "profiles", cache: name, result: "hit" })
  const misses = Metric.withAttributes(lookups, { service: "profiles", cache: name, result: "miss" })
  return Effect.suspend(() => {
    const counts = cache.takeCounts()
    return Effect.andThen(Metric.update(hits, counts.hits), Metric.update(misses, counts.misses))
  })
}

export const retryable =
  <A>(query: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, A>, SqlError>) =>
  (keys: ReadonlyArray<string>) =>
    query(keys).pipe(
      Effect.timeout(LOAD_TIMEOUT),
      Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
    )

/** What was loaded since the change, before its push came, is newer already. */
export const outdatedBy =
  (sequence: number) =>
  (entry: { readonly sequence: number }): boolean =>
    entry.sequence < sequence

const Size = Schema.FiniteFromString.pipe(Schema.decodeTo(Schema.Int.check(Schema.isGreaterThan(0))))

/** `PROFILE_CACHE_SIZE`: the most devices in memory. */
export const cacheSize = Config.schema(Size, "PROFILE_CACHE_SIZE").pipe(Config.withDefault(400_000))
