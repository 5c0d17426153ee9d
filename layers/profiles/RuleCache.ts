/**
 * The rules of organizations and the groups of assets in memory, from PostgreSQL, as current as the profiles are.
 * @module
 */
import type { RuleId, TenantId } from "@argusiq/domain/ids.ts"
import { RuleConfig, type RuleVersion } from "@argusiq/domain/rule/rule.ts"
import { Effect, Layer, Result, Schema } from "effect"
import { BoundedMap } from "../cache/BoundedMap.ts"
import { makeLoadingCache } from "../cache/LoadingCache.ts"
import { PipelineSql } from "../database/Sql.ts"
import { AssetProfiles } from "./AssetProfiles.ts"
import * as ChangeFeed from "./ChangeFeed.ts"
import { cacheSize, countLookups, outdatedBy, retryable } from "./profileLoads.ts"
import { Profiles } from "./Profiles.ts"
import { indexRules, type RuleIndex, versionsFor } from "./ruleIndex.ts"
import { makeRuleQueries, type StoredRules } from "./ruleQueries.ts"
import { RuleSets } from "./RuleSets.ts"

export interface RuleCacheOptions {
  /** The most entities whose rules are in memory; a hundredth as many organizations (at least 100). */
  readonly size: number
}

const decodeConfig = Schema.decodeUnknownResult(RuleConfig)
const noGroups: ReadonlyArray<string> = []

/** A version that another release has saved in a form that this one cannot read is left out, and says so. */
const readable = Effect.fnUntraced(function* ({ sequence, tenantId, versions }: StoredRules) {
  const decoded: Array<RuleVersion> = []
  for (const { config, effective_at, number, rule_id } of versions) {
    const result = decodeConfig(config)
    if (Result.isSuccess(result)) {
      decoded.push({
        id: rule_id as RuleId,
        version: number,
        effectiveAt: effective_at,
        tenantId: tenantId as TenantId,
        config: result.success
      })
    } else {
      yield* Effect.logError(
        `This release cannot use version ${number} of rule ${rule_id}; it raises nothing: save the rule again`,
        result.failure
      )
    }
  }
  return indexRules(decoded, sequence)
})

/** What an entity's rules were made of. */
interface Made {
  readonly index: RuleIndex
  readonly typeId: string
  readonly groups: ReadonlyArray<string>
  readonly versions: ReadonlyArray<RuleVersion>
}

export const make = Effect.fnUntraced(function* ({ size }: RuleCacheOptions) {
  const queries = makeRuleQueries(yield* PipelineSql)
  const feed = yield* ChangeFeed.ChangeFeed
  const devices = yield* Profiles
  const assets = yield* AssetProfiles

  const rules = yield* makeLoadingCache({
    limit: Math.max(100, size / 100),
    load: Effect.fnUntraced(function* (tenantIds) {
      const indexes = new Map<string, RuleIndex>()
      for (const [id, stored] of yield* retryable(queries.rules)(tenantIds)) indexes.set(id, yield* readable(stored))
      return indexes
    })
  })
  const groups = yield* makeLoadingCache({ limit: size, load: retryable(queries.groups) })
  const made = new BoundedMap<Made>(size)
  const forgetAll = () => {
    rules.clear()
    groups.clear()
    made.clear()
  }

  yield* feed.subscribe({
    changed: (type, id, sequence) => {
      if (type === "rules") rules.invalidate(id, outdatedBy(sequence))
      else if (type === "asset") groups.invalidate(id, outdatedBy(sequence))
      // Whom a group takes in cannot be told from its organization: it is changed seldom.
      else if (type === "groups") groups.clear()
    },
    changedAll: forgetAll,
    forget: ({ type }) => (type === "all" ? Effect.sync(forgetAll) : Effect.void),
    checked: Effect.all([countLookups("rules", rules), countLookups("groups", groups)], { discard: true })
  })

  const entitiesOf = (entityType: "device" | "asset", ids: Iterable<string>) =>
    entityType === "device"
      ? Effect.map(devices.devices(ids), (found) =>
          Array.from(found.values(), ({ deviceId, deviceTypeId, tenantId }) => ({
            id: deviceId as string,
            typeId: deviceTypeId as string,
            tenantId: tenantId as string
          }))
        )
      : Effect.map(assets.assets(ids), (found) =>
          Array.from(found.values(), ({ assetId, assetTypeId, tenantId }) => ({
            id: assetId as string,
            typeId: assetTypeId as string,
            tenantId: tenantId as string
          }))
        )

  return RuleSets.of({
    rulesOf: Effect.fnUntraced(function* (entityType, entityIds) {
      yield* feed.trusted
      const entities = yield* entitiesOf(entityType, entityIds)
      const indexes = yield* rules.getAll(new Set(entities.map(({ tenantId }) => tenantId)))
      const grouped = entities.filter(({ tenantId }) => indexes.get(tenantId)?.[entityType].usesGroups)
      const groupsOf =
        entityType === "asset" && grouped.length > 0 ? yield* groups.getAll(grouped.map(({ id }) => id)) : undefined
      const found = new Map<string, ReadonlyArray<RuleVersion>>()
      for (const { id, tenantId, typeId } of entities) {
        const index = indexes.get(tenantId)
        if (index === undefined) continue
        const member = groupsOf?.get(id)?.groups ?? noGroups
        let known = made.get(id)
        if (known?.index !== index || known.typeId !== typeId || known.groups !== member) {
          const versions = versionsFor(index[entityType], { id, typeId, groups: member })
          known = { index, typeId, groups: member, versions }
          made.set(id, known)
        }
        found.set(id, known.versions)
      }
      return found
    })
  })
})

export const layer = (
  options: RuleCacheOptions
): Layer.Layer<RuleSets, never, PipelineSql | Profiles | AssetProfiles> =>
  Layer.effect(RuleSets, make(options)).pipe(Layer.provide(ChangeFeed.layer))

/** Of the size that device profiles have: `PROFILE_CACHE_SIZE`. */
export const layerConfig = Layer.effect(
  RuleSets,
  Effect.flatMap(cacheSize, (size) => make({ size }))
).pipe(Layer.provide(ChangeFeed.layer))
