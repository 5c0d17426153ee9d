/**
 * How a profile that is not in memory is found: in the shared cache, else in PostgreSQL, from where it is shared.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { Effect, Metric, Option } from "effect"
import { type SecondLevel } from "../cache/SecondLevel.ts"

type Load<A> = (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, A>, DatabaseUnavailable>

const loaded = Metric.counter("argusiq_profile_cache_loaded_total", { incremental: true })

export const sharedLoad = <A extends { readonly sequence: number }>(options: {
  readonly name: string
  readonly secondLevel: SecondLevel
  readonly keyOf: (id: string) => string
  readonly decode: (json: string) => Option.Option<A>
  readonly query: Load<A>
}): Load<A> => {
  const { decode, keyOf, query, secondLevel } = options
  const fromShared = Metric.withAttributes(loaded, { service: "profiles", cache: options.name, source: "shared" })
  const fromDatabase = Metric.withAttributes(loaded, { service: "profiles", cache: options.name, source: "postgresql" })

  return Effect.fnUntraced(function* (ids) {
    const { found, generation } = yield* secondLevel.get(ids.map(keyOf))
    const profiles = new Map<string, A>()
    const missing: Array<string> = []
    for (const id of ids) {
      const shared = Option.flatMap(Option.fromUndefinedOr(found.get(keyOf(id))), ({ value }) => decode(value))
      if (Option.isSome(shared)) profiles.set(id, shared.value)
      else missing.push(id)
    }
    yield* Metric.update(fromShared, profiles.size)
    if (missing.length === 0) return profiles
    const stored = yield* query(missing)
    yield* Metric.update(fromDatabase, stored.size)
    const toShare = new Map(
      [...stored].map(([id, profile]) => [keyOf(id), { sequence: profile.sequence, value: JSON.stringify(profile) }])
    )
    if (toShare.size > 0) yield* secondLevel.put(generation, toShare)
    for (const [id, profile] of stored) profiles.set(id, profile)
    return profiles
  })
}
