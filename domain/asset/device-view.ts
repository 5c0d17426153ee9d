/**
 * A device's reading as an asset sees it through a link: the same for live readings and for those that are stored.
 * @module
 */
import { effectiveVersion } from "../effective.ts"
import { parseExpression } from "../expression/compile.ts"
import type { DeviceId, Instant, MessageId, ReadingId } from "../ids.ts"
import type { MetricValue, Quality } from "../readings.ts"
import { uuidV5 } from "../uuid.ts"
import type { AssetProfile, Link } from "./asset.ts"
import type { DeviceAssetReading } from "./asset-reading.ts"
import type { AssetTypeProfile } from "./asset-type.ts"
import { type CompiledAssetType, compileVersions } from "./compiled-asset-type.ts"
import { compileMapping, type Mapping } from "./mapping.ts"

/** What is seen: a reading of a device, with the message that brought it. */
export interface SeenReading {
  readonly readingId: string
  readonly deviceId: string
  readonly messageId: string
  readonly ts: Instant
  readonly receivedAt: Instant
  readonly metrics: Readonly<Record<string, MetricValue>>
  readonly quality?: Readonly<Record<string, Quality>>
  readonly port?: string
}

const compiled = new WeakMap<AssetTypeProfile, ReadonlyArray<CompiledAssetType>>()

/** The versions of a type, oldest first; compiled once for as long as the profile is the same object. */
export const versionsOf = (type: AssetTypeProfile): ReadonlyArray<CompiledAssetType> => {
  let versions = compiled.get(type)
  if (versions === undefined) compiled.set(type, (versions = compileVersions(type, parseExpression)))
  return versions
}

interface OfLink {
  readonly asset: AssetProfile
  readonly mappings: WeakMap<CompiledAssetType, Mapping>
}
const ofLinks = new WeakMap<Link, OfLink>()

/** How an asset sees the readings of a link's device under a version of its type. */
const mappingOf = (link: Link, asset: AssetProfile, type: CompiledAssetType): Mapping => {
  let ofLink = ofLinks.get(link)
  if (ofLink?.asset !== asset) ofLinks.set(link, (ofLink = { asset, mappings: new WeakMap() }))
  let mapping = ofLink.mappings.get(type)
  if (mapping === undefined) {
    const { metricDefinitions, transformationEngine } = type.config
    const layers = [transformationEngine.mappings, asset.profileMappings, link.metricsMapping]
    ofLink.mappings.set(type, (mapping = compileMapping(layers, metricDefinitions, link.port)))
  }
  return mapping
}

/**
 * Undefined: the asset sees nothing of the reading. That the link takes it in is for the caller to know.
 * @param versions of the asset's type, oldest first
 */
export const throughLink = (
  link: Link,
  asset: AssetProfile,
  versions: ReadonlyArray<CompiledAssetType>,
  reading: SeenReading
): DeviceAssetReading | undefined => {
  const version = effectiveVersion(versions, reading.ts)
  if (version === undefined) return undefined
  const seen = mappingOf(link, asset, version)(reading)
  if (seen === undefined) return undefined
  return {
    kind: "device",
    readingId: uuidV5(link.assetId, `${reading.readingId}:${link.linkId}`) as ReadingId,
    assetId: link.assetId,
    tenantId: asset.tenantId,
    assetTypeVersion: version.number,
    sourceReadingId: reading.readingId as ReadingId,
    sourceMessageId: reading.messageId as MessageId,
    sourceDeviceId: reading.deviceId as DeviceId,
    linkId: link.linkId,
    role: link.role,
    ts: reading.ts,
    receivedAt: reading.receivedAt,
    metrics: seen.metrics,
    ...(seen.quality !== undefined && { quality: seen.quality })
  }
}

/** The port of a reading that was stored, where its metrics bear that of the link. */
export const storedPort = (link: Link, metrics: SeenReading["metrics"]): { readonly port?: string } => {
  if (link.port === undefined) return {}
  for (const key in metrics) if (key.startsWith(`port${link.port}.`)) return { port: link.port }
  return {}
}
