/**
 * What the event engine needs of device types, in memory: so that a message costs no Effect.
 * @module
 */
import { effectiveVersion } from "@argusiq/domain/effective.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { type DeviceTypeVersions, Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { Effect, Result } from "effect"

interface Traits {
  readonly offlineAfterSeconds: number
}

/** Of a type that is gone or that this release cannot use: the usual silence. */
const unknownTraits: Traits = { offlineAfterSeconds: 300 }

/** None of a type is ever silent whose limit is 0. */
const traitsOf = (type: DeviceTypeVersions | undefined, at: Instant): Traits => {
  const version = effectiveVersion(type?.versions ?? [], at)
  if (type === undefined || version === undefined || Result.isFailure(version.compiled)) return unknownTraits
  const { offlineAfterSeconds } = version.compiled.success.config
  return { offlineAfterSeconds: offlineAfterSeconds > 0 ? offlineAfterSeconds : Number.POSITIVE_INFINITY }
}

export const makeTypes = Effect.map(Profiles, (profiles) => {
  const known = new Map<string, Traits>()

  const ask = (ids: ReadonlySet<string>, at: Instant) =>
    Effect.map(profiles.deviceTypes(ids), (found) => {
      let changed = false
      for (const id of ids) {
        const before = known.get(id)
        const traits = traitsOf(found.get(id), at)
        changed ||= before !== undefined && before.offlineAfterSeconds !== traits.offlineAfterSeconds
        known.set(id, traits)
      }
      return changed
    })

  return {
    /** Completes when these are known, as they are at this instant. */
    know: (ids: ReadonlySet<string>, at: Instant) =>
      Effect.suspend(() => {
        const missing = new Set<string>()
        for (const id of ids) if (!known.has(id)) missing.add(id)
        return missing.size === 0 ? Effect.void : Effect.asVoid(ask(missing, at))
      }),
    /** Asks for these again; true when the silence that one of them allows has changed. */
    refresh: (ids: ReadonlySet<string>, at: Instant) => (ids.size === 0 ? Effect.succeed(false) : ask(ids, at)),
    knows: (id: string) => known.has(id),
    offlineAfterSeconds: (id: string) => (known.get(id) ?? unknownTraits).offlineAfterSeconds
  }
})

export type Types = Effect.Success<typeof makeTypes>
