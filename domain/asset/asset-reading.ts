/**
 * An asset's readings as they travel: what its devices measured as it sees them, and what the fold made of it.
 * @module
 */
import { Schema } from "effect"
import { AssetId, DeviceId, Instant, LinkId, MessageId, ReadingId, TenantId, Uuid } from "../ids.ts"
import { Metrics, Quality } from "../readings.ts"
import { LinkRole } from "./asset.ts"

const quality = Schema.optionalKey(Schema.Record(Schema.String, Quality)) // only the keys that are not good

/** Value of `telemetry.asset_readings.v1`, key = asset: one device reading as one asset sees it. */
export const DeviceAssetReading = Schema.Struct({
  kind: Schema.Literal("device"),
  readingId: ReadingId, // v5(asset, device reading's id, link)
  assetId: AssetId,
  tenantId: TenantId,
  assetTypeVersion: Schema.Int,
  sourceReadingId: ReadingId,
  sourceMessageId: MessageId,
  sourceDeviceId: DeviceId,
  linkId: LinkId,
  transactionId: Schema.optionalKey(Uuid),
  role: LinkRole,
  ts: Instant,
  receivedAt: Instant,
  metrics: Metrics, // keys and units of the asset type
  quality
})
/** The same topic: what a child came to, as its parent sees it. A higher revision of the same readingId replaces it. */
export const ChildAssetReading = Schema.Struct({
  kind: Schema.Literal("child"),
  readingId: ReadingId, // v5(parent, child's asset reading id)
  assetId: AssetId, // the parent
  tenantId: TenantId,
  childId: AssetId,
  weight: Schema.Finite,
  revision: Schema.Int,
  retracted: Schema.Boolean,
  transactionId: Schema.optionalKey(Uuid),
  ts: Instant,
  receivedAt: Instant,
  metrics: Metrics,
  quality,
  health: Schema.optionalKey(Schema.Finite)
})
export const AssetReading = Schema.Union([DeviceAssetReading, ChildAssetReading])
export type DeviceAssetReading = typeof DeviceAssetReading.Type
export type ChildAssetReading = typeof ChildAssetReading.Type
export type AssetReading = typeof AssetReading.Type

/** What made a health score: adds up to it with the others. */
export const HealthContribution = Schema.Struct({
  metricKey: Schema.optionalKey(Schema.String),
  childId: Schema.optionalKey(AssetId),
  reason: Schema.optionalKey(Schema.String),
  value: Schema.optionalKey(Schema.Finite), // of the metric
  score: Schema.Finite, // 0..100 by itself
  weight: Schema.Finite,
  points: Schema.Finite // its part of the score; negative for a deduction
})
export type HealthContribution = typeof HealthContribution.Type

/** Value of `telemetry.asset.v1`, key = asset: what the fold made of one instant. A higher revision of the same readingId replaces it. */
export const AssetTelemetry = Schema.Struct({
  readingId: ReadingId, // v5(asset, ts)
  assetId: AssetId,
  tenantId: TenantId,
  assetTypeVersion: Schema.Int,
  revision: Schema.Int,
  retracted: Schema.Boolean,
  ts: Instant,
  receivedAt: Instant, // of the newest reading that took part
  metrics: Metrics,
  quality,
  health: Schema.optionalKey(
    Schema.Struct({
      score: Schema.Finite,
      algorithm: Schema.String,
      contributions: Schema.Array(HealthContribution)
    })
  ),
  sourceDevices: Schema.Array(DeviceId)
})
export type AssetTelemetry = typeof AssetTelemetry.Type
