/**
 * Profiles in memory, from the cache that processes share where there is one, from PostgreSQL. Devices and device types are
 * shared; what else hangs on a device, API keys among it, is not.
 *
 * Why a version that is about to apply is always known here: a version takes effect 2 s after it is published. A check of
 * the change sequence that began at C, once completed, means that every change committed before C has been acted upon;
 * `devices` and `deviceTypes` answer only within 1.5 s of the last such C, checking at once otherwise and failing when that
 * is impossible. So a version unknown here was committed after C and takes effect after C + 2 s, later than now and than
 * the received-at of any message that can be asked about. The remaining half second is for commits that come late and for
 * clocks that differ. A retry that asks for the configuration of its own moment is no different: that moment is in the past.
 * @module
 */
import { CacheUnavailable, type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { Clock, Effect, Exit, Layer } from "effect"
import { type LoadingCache, makeLoadingCache } from "../cache/LoadingCache.ts"
import { makeSecondLevel } from "../cache/SecondLevel.ts"
import { type Forgotten } from "../cache/SharedCache.ts"
import { PipelineSql } from "../database/Sql.ts"
import * as ChangeFeed from "./ChangeFeed.ts"
import { cacheSize, countLookups, outdatedBy, retryable } from "./profileLoads.ts"
import { childKey, externalIdKey, makeProfileQueries, type OwnedByDevice } from "./ProfileQueries.ts"
import { type ChildProfile, Profiles } from "./Profiles.ts"
import { sharedLoad } from "./sharedLoad.ts"
import { compileVersions, decodeDevice, decodeDeviceType } from "./StoredProfiles.ts"

export interface ProfileCacheOptions {
  /** The most devices in memory; as many external ids, children and API keys, a twentieth as many types (at least 1,000). */
  readonly size: number
}

/** Changed devices remembered by the caches that are not keyed by device; above, those caches are dropped. */
const REMEMBERED_CHANGES = 10_000

const keyOf = {
  device: (id: string) => `device:profile:${id}`,
  "device-type": (id: string) => `device-type:profile:${id}`
}

export const make = Effect.fnUntraced(function* (options: ProfileCacheOptions) {
  const sql = yield* PipelineSql
  const clock = yield* Clock.Clock
  const queries = makeProfileQueries(sql)

  /** The last change of a device, by which what hangs on it is judged. */
  const changes = new Map<string, number>()
  const isCurrent = (entry: OwnedByDevice) => {
    const changed = changes.get(entry.deviceId)
    return changed === undefined || entry.sequence >= changed
  }
  const secondLevel = yield* makeSecondLevel
  const devices = yield* makeLoadingCache({
    limit: options.size,
    load: sharedLoad({
      name: "devices",
      secondLevel,
      keyOf: keyOf.device,
      decode: decodeDevice,
      query: retryable(queries.devices)
    })
  })
  const loadDeviceTypes = sharedLoad({
    name: "device-types",
    secondLevel,
    keyOf: keyOf["device-type"],
    decode: decodeDeviceType,
    query: retryable(queries.deviceTypes)
  })
  const deviceTypes = yield* makeLoadingCache({
    limit: Math.max(1_000, options.size / 20),
    load: (ids) =>
      Effect.map(loadDeviceTypes(ids), (types) => new Map([...types].map(([id, type]) => [id, compileVersions(type)])))
  })
  const externalIds = yield* makeLoadingCache({
    limit: options.size,
    load: retryable(queries.externalIds),
    isCurrent
  })
  // An unknown child costs its message an entry: whether it exists is asked each time, not remembered.
  const children = yield* makeLoadingCache({
    limit: options.size,
    load: retryable(queries.children),
    isCurrent,
    absentMillis: 0
  })
  const apiKeys = yield* makeLoadingCache({ limit: options.size, load: retryable(queries.apiKeys), isCurrent })
  const certificates = yield* makeLoadingCache({
    limit: options.size,
    load: retryable(queries.certificates),
    isCurrent
  })
  const certified = yield* makeLoadingCache({ limit: options.size, load: retryable(queries.certified), isCurrent })

  const forgetOwned = () => {
    externalIds.clear()
    children.clear()
    apiKeys.clear()
    certificates.clear()
    certified.clear()
    changes.clear()
  }
  const forgetAll = () => {
    devices.clear()
    deviceTypes.clear()
    forgetOwned()
  }

  /** Shared values first: one loaded from there while this is done is forgotten with the rest. */
  const forget = (what: Forgotten) =>
    Effect.map(secondLevel.forget(what.type === "all" ? undefined : keyOf[what.type](what.id)), () => {
      if (what.type === "all") forgetAll()
      else if (what.type === "device-type") deviceTypes.invalidate(what.id)
      else {
        devices.invalidate(what.id)
        // What else hangs on the device cannot be told from its id alone.
        forgetOwned()
      }
    })
  const context = yield* Effect.context()
  yield* secondLevel.announcements((what) => {
    Effect.runForkWith(context)(forget(what))
  })

  const feed = yield* ChangeFeed.ChangeFeed
  yield* feed.subscribe({
    changed: (type, id, sequence) => {
      if (type !== "device" && type !== "device-type") {
        // It is not kept here or there, but its number is one of the sequence.
        return secondLevel.changed(`${type}:${id}`, sequence)
      }
      secondLevel.changed(keyOf[type](id), sequence)
      const isOutdated = outdatedBy(sequence)
      if (type === "device-type") return deviceTypes.invalidate(id, isOutdated)
      devices.invalidate(id, isOutdated)
      if (changes.size >= REMEMBERED_CHANGES) forgetOwned()
      changes.set(id, sequence)
    },
    changedAll: (sequence) => {
      secondLevel.changedAll(sequence)
      forgetAll()
    },
    complete: secondLevel.complete,
    forget,
    checked: Effect.all(
      [
        countLookups("devices", devices),
        countLookups("device-types", deviceTypes),
        countLookups("external-ids", externalIds),
        countLookups("children", children),
        countLookups("api-keys", apiKeys),
        countLookups("certificates", certificates)
      ],
      { discard: true }
    )
  })

  /** What the bridge has cached goes on while PostgreSQL is away. */
  const one = <A>(cache: LoadingCache<A, DatabaseUnavailable>, key: string) =>
    Effect.suspend(() => {
      const cached = cache.peek(key)
      if (cached !== undefined) return Effect.succeed(cached)
      return Effect.andThen(
        feed.trusted,
        Effect.map(cache.getAll([key]), (found) => found.get(key))
      )
    })

  return Profiles.of({
    cachedDevice: devices.peek,
    devices: (ids) => Effect.andThen(feed.trusted, devices.getAll(ids)),
    deviceTypes: (ids) => Effect.andThen(feed.trusted, deviceTypes.getAll(ids)),
    byExternalId: (tenantId, externalId) =>
      Effect.map(one(externalIds, externalIdKey(tenantId, externalId)), (entry) => entry?.deviceId),
    children: Effect.fnUntraced(function* (asked) {
      yield* feed.trusted
      const keys: Array<string> = []
      const gateways = Array.from(asked, ({ gatewayId, identifiers, tenantId }) => ({
        gatewayId,
        identifiers: Array.from(identifiers, (identifier) => {
          const key = childKey(tenantId, gatewayId, identifier)
          keys.push(key)
          return [identifier, key] as const
        })
      }))
      const found = yield* children.getAll(keys)
      const byGateway = new Map<string, Map<string, ChildProfile>>()
      for (const { gatewayId, identifiers } of gateways) {
        const known = byGateway.get(gatewayId) ?? new Map<string, ChildProfile>()
        byGateway.set(gatewayId, known)
        for (const [identifier, key] of identifiers) {
          const child = found.get(key)
          if (child !== undefined) known.set(identifier, child)
        }
      }
      return byGateway
    }),
    apiKey: (keyHash) =>
      Effect.map(one(apiKeys, keyHash), (entry) =>
        entry === undefined || (entry.expiresAt !== undefined && entry.expiresAt <= clock.currentTimeMillisUnsafe())
          ? undefined
          : { keyId: entry.keyId, deviceId: entry.deviceId, tenantId: entry.tenantId }
      ),
    certificate: (fingerprint) => one(certificates, fingerprint),
    isCertified: (deviceId) =>
      Effect.map(
        one(certified, deviceId),
        (entry) => entry !== undefined && entry.until > clock.currentTimeMillisUnsafe()
      ),
    invalidate: Effect.fnUntraced(function* (what) {
      yield* forget(what)
      const announced = yield* Effect.exit(secondLevel.announce(what))
      yield* Effect.catch(ChangeFeed.pushByHand(sql, what), (cause) =>
        Exit.isSuccess(announced) ? Effect.void : Effect.fail(new CacheUnavailable({ cause }))
      )
    })
  })
})

export const layer = (options: ProfileCacheOptions): Layer.Layer<Profiles, never, PipelineSql> =>
  Layer.effect(Profiles, make(options)).pipe(Layer.provide(ChangeFeed.layer))

/** `PROFILE_CACHE_SIZE`: the most devices in memory. */
export const layerConfig = Layer.effect(
  Profiles,
  Effect.flatMap(cacheSize, (size) => make({ size }))
).pipe(Layer.provide(ChangeFeed.layer))
