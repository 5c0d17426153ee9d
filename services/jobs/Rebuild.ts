/**
 * A rebuild job: what assets, or rules, made of the past, made anew entity by entity. Each is put in place at once, together with
 * how far the job has come.
 * @module
 */
import { AssetTypeConfig } from "@argusiq/domain/asset/asset-type.ts"
import { type CompiledAssetType, compileAssetType } from "@argusiq/domain/asset/compiled-asset-type.ts"
import { versionsOf } from "@argusiq/domain/asset/device-view.ts"
import { inherit } from "@argusiq/domain/asset/type-inheritance.ts"
import type { Link } from "@argusiq/domain/asset/asset.ts"
import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { RebuildParameters } from "@argusiq/domain/rebuild.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { readAcceptance } from "@argusiq/layers/connectivity/IngestGaps.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { step, type TakenJob, waiting } from "@argusiq/layers/jobs/JobQueue.ts"
import { foldedUpTo, isStored } from "@argusiq/layers/jobs/rebuildProgress.ts"
import { draftOf, feedsOfAsset, nextPlaces, type Place } from "@argusiq/layers/jobs/rebuildScope.ts"
import { AssetProfiles } from "@argusiq/layers/profiles/AssetProfiles.ts"
import { RuleSets } from "@argusiq/layers/profiles/RuleSets.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { Clock, Effect, Schema } from "effect"
import { publishedVersions, rebuildAlarms } from "./rebuildAlarms.ts"
import { rebuildAsset } from "./rebuildAsset.ts"
import { type Throttle } from "./throttle.ts"

const LOOK_AGAIN = 100
/** Usually what has been folded is stored within a second. */
const PATIENCE = 15_000
const notStored =
  "It waits until the last readings are stored: the telemetry writer does not run, or is behind. npx argusiq doctor tells more."
const OVERTAKEN_AT_MOST = 5

const decodeParameters = Schema.decodeUnknownEffect(RebuildParameters)
/** The entity that was done last. */
const Checkpoint = Schema.Struct({ height: Schema.Int, id: Schema.String })
const decodeCheckpoint = Schema.decodeUnknownSync(Schema.NullOr(Checkpoint))
const decodeConfig = Schema.decodeUnknownEffect(AssetTypeConfig)

export const rebuild = Effect.fn("rebuild")(function* (job: TakenJob, throttle: Throttle) {
  const parameters = yield* decodeParameters(job.parameters)
  const { configuration, scope, what } = parameters
  const span = { from: parameters.from, to: parameters.to }
  const entityType = parameters.what === "assets" ? "asset" : parameters.entityType
  const sql = yield* PipelineSql
  const profiles = yield* AssetProfiles
  const ruleSets = yield* RuleSets
  const sandbox = yield* Sandbox
  const bus = yield* Bus
  let progress = job.progress

  /** All that has been folded by now is stored; gives the clock of when it had been folded. */
  const untilStored = Effect.gen(function* () {
    const clock = (yield* Clock.currentTimeMillis) * 1_000
    const folded = yield* foldedUpTo(sql, bus)
    for (let waited = 0; !(yield* isStored(sql, bus, folded)); waited += LOOK_AGAIN) {
      if (waited === PATIENCE) yield* waiting(sql, job, notStored)
      yield* Effect.sleep(LOOK_AGAIN)
    }
    return clock
  })

  const draft = Effect.fnUntraced(function* () {
    if (parameters.what !== "assets" || configuration !== "draft" || scope.kind !== "type") return undefined
    const stored = yield* draftOf(sql, scope.id)
    if (stored === undefined) return yield* Effect.die(new Error(`the draft of asset type ${scope.id} is gone`))
    const config = yield* decodeConfig(stored.config)
    const inherited = stored.inherited === null ? undefined : yield* decodeConfig(stored.inherited)
    const version = { number: stored.number, effectiveAt: 0 }
    return {
      typeId: scope.id as string,
      versions: [compileAssetType(inherit(inherited, config), parseExpression, undefined, version)]
    }
  })
  const drafted = yield* draft()

  const chosen = (typeId: string, versions: ReadonlyArray<CompiledAssetType>) =>
    configuration === "as it was"
      ? versions
      : drafted !== undefined && typeId === drafted.typeId
        ? drafted.versions
        : versions.slice(-1)

  const gapsNow = Effect.map(readAcceptance(sql), ({ acceptedUntil, gaps }) => [
    ...gaps,
    { from: acceptedUntil, to: Number.MAX_SAFE_INTEGER }
  ])

  const alarmsOf = Effect.fnUntraced(function* (entityId: string) {
    const versions = (yield* ruleSets.rulesOf(entityType, [entityId])).get(entityId) ?? []
    const first = versions[0]
    if (first === undefined) return 0
    const isForced = what === "rules" && configuration === "published"
    const entity = { entityType, entityId, tenantId: job.tenantId, gaps: yield* gapsNow }
    return yield* rebuildAlarms(
      sql,
      sandbox,
      bus.partitions,
      { ...entity, versions: isForced ? publishedVersions(versions) : versions },
      span,
      untilStored
    )
  })

  const assetOf = Effect.fnUntraced(function* (assetId: string, stored: Instant) {
    const feeds = yield* feedsOfAsset(sql, assetId)
    const assets = yield* profiles.assets([assetId, ...feeds.children])
    const profile = assets.get(assetId)
    if (profile === undefined || profile.status === "decommissioned") return 0
    const type = (yield* profiles.types([profile.assetTypeId])).get(profile.assetTypeId)
    if (type === undefined) return 0
    const links = new Map<string, ReadonlyArray<Link>>()
    for (const [deviceId, ofDevice] of yield* profiles.links(feeds.devices)) {
      const own = ofDevice.filter((link) => link.assetId === assetId)
      if (own.length > 0) links.set(deviceId, own)
    }
    const liveVersions = versionsOf(type)
    const children = new Map([...assets].filter(([id]) => id !== assetId))
    const versions = chosen(profile.assetTypeId, liveVersions)
    return yield* rebuildAsset(
      sql,
      sandbox,
      bus.partitions,
      { profile, versions, liveVersions, links, children },
      span,
      stored,
      untilStored
    )
  })

  const one = (place: Place, stored: Instant) =>
    sql.withTransaction(
      Effect.gen(function* () {
        const readings = what === "assets" ? yield* assetOf(place.id, stored) : 0
        const ofRules = yield* alarmsOf(place.id)
        yield* step(sql, job, progress + 1, place)
        return readings + ofRules
      })
    )

  let after: Place | undefined = decodeCheckpoint(job.checkpoint) ?? undefined
  for (;;) {
    const places = yield* nextPlaces(sql, job.tenantId, entityType, scope, after)
    if (places.length === 0) return
    const stored = yield* untilStored
    for (const place of places) {
      const readings = yield* one(place, stored).pipe(
        Effect.retry({ times: OVERTAKEN_AT_MOST, while: (error) => error._tag === "Overtaken" })
      )
      progress += 1
      after = place
      yield* throttle.take(1 + readings)
    }
  }
})
