/**
 * What is told of folded assets: rows, telemetry for rules and subscribers, and readings for their parents.
 * @module
 */
import type { AssetProfile } from "@argusiq/domain/asset/asset.ts"
import type { AssetOutput } from "@argusiq/domain/asset/asset-fold.ts"
import type { AssetTelemetry, ChildAssetReading } from "@argusiq/domain/asset/asset-reading.ts"
import { childReadingId, rolledUp } from "@argusiq/domain/asset/child-view.ts"
import { versionsOf } from "@argusiq/domain/asset/device-view.ts"
import type { AssetId, Instant, ReadingId, TenantId } from "@argusiq/domain/ids.ts"
import type { MetricValue } from "@argusiq/domain/readings.ts"
import { jsonValue } from "@argusiq/domain/record-json.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { uuidV5 } from "@argusiq/domain/uuid.ts"
import type { AssetBatch } from "@argusiq/layers/asset-state/AssetStore.ts"
import type { AsideReading, AssetFrame, GoneFrame } from "@argusiq/layers/asset-state/frameStatement.ts"
import type { BusRecord } from "@argusiq/layers/bus/Bus.ts"
import type { FoldedAsset, KnownAssets } from "./foldAssets.ts"

/** The identity of an asset's instant. */
export const instantId = (assetId: string, ts: Instant | string): ReadingId => uuidV5(assetId, String(ts)) as ReadingId

type Headers = Readonly<Record<string, string>>

/** Of several records that led to something: what they have in common counts for it. */
export const commonHeaders = (all: ReadonlyArray<Headers>): Headers => {
  const common: Record<string, string> = {}
  for (const name of ["replay-job", "side-effects", "source"]) {
    const value = all[0]?.[name]
    if (value !== undefined && all.every((headers) => headers[name] === value)) common[name] = value
  }
  // Of several sampled messages one goes on.
  const traceparent = all.find((headers) => headers["traceparent"] !== undefined)?.["traceparent"]
  if (traceparent !== undefined) common["traceparent"] = traceparent
  return common
}

const headersOf = (common: Headers, tenantId: string, readingId: string, receivedAt: Instant): Headers => ({
  source: "pipeline",
  ...common,
  "message-id": readingId,
  "tenant-id": tenantId,
  "received-at": String(receivedAt)
})

const telemetryOf = ({ arrivals, assetId, tenantId }: FoldedAsset["asset"], output: AssetOutput): AssetTelemetry => ({
  readingId: instantId(assetId, output.ts),
  assetId: assetId as AssetId,
  tenantId: tenantId as TenantId,
  assetTypeVersion: output.assetTypeVersion,
  revision: arrivals,
  retracted: false,
  ts: output.ts,
  receivedAt: output.receivedAt,
  metrics: output.metrics,
  ...(output.quality !== undefined && { quality: output.quality }),
  ...(output.health !== undefined && { health: output.health }),
  sourceDevices: output.sourceDevices
})

const retractionOf = (
  { arrivals, assetId, tenantId }: FoldedAsset["asset"],
  ts: string,
  receivedAt: Instant
): AssetTelemetry => ({
  readingId: instantId(assetId, ts),
  assetId: assetId as AssetId,
  tenantId: tenantId as TenantId,
  assetTypeVersion: 0,
  revision: arrivals,
  retracted: true,
  ts: Number(ts),
  receivedAt,
  metrics: {},
  sourceDevices: []
})

const published = (telemetry: AssetTelemetry, common: Headers): BusRecord => ({
  topic: Topics.asset,
  key: telemetry.assetId,
  ...jsonValue(telemetry),
  headers: headersOf(common, telemetry.tenantId, telemetry.readingId, telemetry.receivedAt)
})

/** The metrics that a parent rolls up; undefined when it does not look at its children. */
const wantedBy = (parentId: string | undefined, { assets, types }: KnownAssets): ReadonlySet<string> | undefined => {
  const parent = parentId === undefined ? undefined : assets.get(parentId)
  if (parent === undefined || parent.status === "decommissioned") return undefined
  const type = types.get(parent.assetTypeId)
  return type === undefined ? undefined : rolledUp(versionsOf(type))
}

const childReading = (
  { arrivals, assetId, state, tenantId }: FoldedAsset["asset"],
  { healthWeight, parentId }: AssetProfile,
  ts: Instant,
  output: AssetOutput | undefined,
  wanted: ReadonlySet<string>
): ChildAssetReading => {
  const metrics: Record<string, MetricValue> = {}
  const held = output?.held ?? {}
  for (const key of wanted) if (Object.hasOwn(held, key)) metrics[key] = held[key]!
  return {
    kind: "child",
    readingId: childReadingId(parentId!, assetId, ts),
    assetId: parentId!,
    tenantId: tenantId as TenantId,
    childId: assetId as AssetId,
    weight: healthWeight,
    revision: arrivals,
    retracted: output === undefined,
    ...(output?.transactionId !== undefined && { transactionId: output.transactionId }),
    ts,
    receivedAt: output?.receivedAt ?? Math.max(state.tip.receivedAt, ts),
    metrics,
    ...(output?.health !== undefined && { health: output.health.score })
  }
}

const toParent = (
  { asset, profile, seconds }: FoldedAsset,
  known: KnownAssets,
  common: Headers
): ReadonlyArray<BusRecord> => {
  const wanted = wantedBy(profile.parentId, known)
  if (wanted === undefined) return []
  return Array.from(seconds, ([ts, output]) => {
    const reading = childReading(asset, profile, ts, output, wanted)
    return {
      topic: Topics.assetReadings,
      key: reading.assetId,
      ...jsonValue(reading),
      headers: headersOf(common, reading.tenantId, reading.readingId, reading.receivedAt)
    }
  })
}

export interface Told {
  readonly publish: ReadonlyArray<BusRecord>
  readonly rows: AssetBatch
}

/** @param headersOf what the records that led to it had in common, by asset */
export const tell = (
  folded: ReadonlyArray<FoldedAsset>,
  known: KnownAssets,
  commonOf: (assetId: string) => Headers
): Told => {
  const publish: Array<BusRecord> = []
  const frames: Array<AssetFrame> = []
  const aside: Array<AsideReading> = []
  const gone: Array<GoneFrame> = []
  for (const one of folded) {
    const { asset, ahead, changed, late, retracted } = one
    const { arrivals, assetId, tenantId } = asset
    const common = commonOf(assetId)
    for (const output of changed.values()) {
      const telemetry = telemetryOf(asset, output)
      publish.push(published(telemetry, common))
      frames.push({ assetId, tenantId, readingId: telemetry.readingId, revision: arrivals, output })
    }
    for (const ts of retracted) {
      const readingId = instantId(assetId, ts)
      publish.push(published(retractionOf(asset, ts, Math.max(asset.state.tip.receivedAt, Number(ts))), common))
      gone.push({ assetId, tenantId, readingId, ts: Number(ts) })
    }
    publish.push(...toParent(one, known, common))
    for (const reading of late) {
      aside.push({ assetId, tenantId, reading, why: "late", insteadOf: instantId(assetId, reading.ts) })
    }
    for (const reading of ahead) {
      aside.push({ assetId, tenantId, reading, why: "ahead", insteadOf: instantId(assetId, reading.ts) })
    }
  }
  return { publish, rows: { frames, aside, gone } }
}
