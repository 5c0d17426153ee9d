/**
 * What the event engine needs of device types, in memory: so that a message costs no Effect.
 * @module
 */
import { effectiveVersion } from "@argusiq/domain/effective.ts"
import type { ProcessingMode } from "@argusiq/domain/envelope.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { type DeviceTypeVersions, Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { Effect, Result } from "effect"

interface Traits {
  readonly offlineAfterSeconds: number
  readonly holdsOthers: boolean
}

/** Of a type that is gone or that this release cannot use: the usual silence, and its messages are looked into. */
const unknownTraits: Traits = { offlineAfterSeconds: 300, holdsOthers: true }

const gatewayModes: ReadonlySet<ProcessingMode> = new Set(["gateway", "gateway_chunked"])

/** None of a type is ever silent whose limit is 0. */
const traitsOf = (type: DeviceTypeVersions | undefined, at: Instant): Traits => {
  const version = effectiveVersion(type?.versions ?? [], at)
  if (type === undefined || version === undefined || Result.isFailure(version.compiled)) return unknownTraits
  const { offlineAfterSeconds } = version.compiled.success.config
  return {
    offlineAfterSeconds: offlineAfterSeconds > 0 ? offlineAfterSeconds : Number.POSITIVE_INFINITY,
    // Messages of an earlier version may still come.
    holdsOthers: type.versions.some(
      ({ compiled }) => Result.isFailure(compiled) || gatewayModes.has(compiled.success.config.processingMode)
    )
  }
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
    offlineAfterSeconds: (id: string) => (known.get(id) ?? unknownTraits).offlineAfterSeconds,
    /** Whether its messages may bring readings of other devices. */
    holdsOthers: (id: string) => (known.get(id) ?? unknownTraits).holdsOthers
  }
})

export type Types = Effect.Success<typeof makeTypes>
