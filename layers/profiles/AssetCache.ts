/**
 * Assets, their types and their links in memory, from PostgreSQL. What is answered reflects every change committed until at
 * most 1.5 s ago, so a version that takes effect 2 s after its publication is always known before it applies.
 * @module
 */
import { AssetTypeConfig, type AssetTypeProfile } from "@argusiq/domain/asset/asset-type.ts"
import { Effect, Layer, Result, Schema } from "effect"
import { makeLoadingCache } from "../cache/LoadingCache.ts"
import { PipelineSql } from "../database/Sql.ts"
import { AssetProfiles } from "./AssetProfiles.ts"
import { makeAssetQueries, type StoredAssetType } from "./assetQueries.ts"
import * as ChangeFeed from "./ChangeFeed.ts"
import { cacheSize, countLookups, outdatedBy, retryable } from "./profileLoads.ts"

export interface AssetCacheOptions {
  /** The most assets in memory, and the most devices with their links; a twentieth as many types (at least 1,000). */
  readonly size: number
}

const decodeConfig = Schema.decodeUnknownResult(AssetTypeConfig)

/** None: a version was published by another release, in a form that this one cannot read. */
const readable = Effect.fnUntraced(function* ({ assetTypeId, sequence, versions }: StoredAssetType) {
  const decoded: Array<AssetTypeProfile["versions"][number]> = []
  for (const { config, effectiveAt, number } of versions) {
    const result = decodeConfig(config)
    if (Result.isFailure(result)) {
      yield* Effect.logError(
        `This release cannot use version ${number} of asset type ${assetTypeId}; its assets are not computed: publish it again`,
        result.failure
      )
      return undefined
    }
    decoded.push({ number, effectiveAt, config: result.success })
  }
  const [first, ...further] = decoded
  if (first === undefined) return undefined
  return { assetTypeId, versions: [first, ...further], sequence } satisfies AssetTypeProfile
})

export const make = Effect.fnUntraced(function* ({ size }: AssetCacheOptions) {
  const queries = makeAssetQueries(yield* PipelineSql)
  const feed = yield* ChangeFeed.ChangeFeed

  const links = yield* makeLoadingCache({ limit: size, load: retryable(queries.links) })
  const assets = yield* makeLoadingCache({ limit: size, load: retryable(queries.assets) })
  const types = yield* makeLoadingCache({
    limit: Math.max(1_000, size / 20),
    load: Effect.fnUntraced(function* (ids) {
      const profiles = new Map<string, AssetTypeProfile>()
      for (const [id, stored] of yield* retryable(queries.types)(ids)) {
        const type = yield* readable(stored)
        if (type !== undefined) profiles.set(id, type)
      }
      return profiles
    })
  })
  const forgetAll = () => {
    links.clear()
    assets.clear()
    types.clear()
  }

  yield* feed.subscribe({
    changed: (type, id, sequence) => {
      if (type === "links") links.invalidate(id, outdatedBy(sequence))
      else if (type === "asset") assets.invalidate(id, outdatedBy(sequence))
      else if (type === "asset-type") types.invalidate(id, outdatedBy(sequence))
      // Which assets have the profile cannot be told from its id: it is changed seldom.
      else if (type === "asset-profile") assets.clear()
    },
    changedAll: forgetAll,
    forget: ({ type }) => (type === "all" ? Effect.sync(forgetAll) : Effect.void),
    checked: Effect.all(
      [countLookups("links", links), countLookups("assets", assets), countLookups("asset-types", types)],
      { discard: true }
    )
  })

  return AssetProfiles.of({
    links: Effect.fnUntraced(function* (deviceIds) {
      yield* feed.trusted
      const found = yield* links.getAll(deviceIds)
      return new Map([...found].map(([id, { links }]) => [id, links]))
    }),
    assets: (assetIds) => Effect.andThen(feed.trusted, assets.getAll(assetIds)),
    types: (assetTypeIds) => Effect.andThen(feed.trusted, types.getAll(assetTypeIds))
  })
})

export const layer = (options: AssetCacheOptions): Layer.Layer<AssetProfiles, never, PipelineSql> =>
  Layer.effect(AssetProfiles, make(options)).pipe(Layer.provide(ChangeFeed.layer))

/** Of the size that device profiles have: `PROFILE_CACHE_SIZE`. */
export const layerConfig = Layer.effect(
  AssetProfiles,
  Effect.flatMap(cacheSize, (size) => make({ size }))
).pipe(Layer.provide(ChangeFeed.layer))
