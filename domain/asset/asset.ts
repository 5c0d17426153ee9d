/**
 * Assets and their links to devices, as the pipeline knows them.
 * @module
 */
import { Schema } from "effect"
import { AssetId, AssetTypeId, DeviceId, Instant, LinkId, metricMap, TenantId } from "../ids.ts"

export const LinkRole = Schema.Literals(["primary", "backup", "secondary"])
export type LinkRole = typeof LinkRole.Type

/** `MONITORED_BY`: what a device measures is the asset's, for readings with validFrom ≤ ts < validUntil. */
export const Link = Schema.Struct({
  linkId: LinkId,
  deviceId: DeviceId,
  assetId: AssetId,
  tenantId: TenantId,
  port: Schema.optionalKey(Schema.String), // only readings of this port; their metrics go by their keys without `port{n}.`
  role: LinkRole, // a backup counts only while no primary has reported within the window
  validFrom: Instant,
  validUntil: Schema.optionalKey(Instant),
  /** Asset metric → path in the device reading's metrics. Read it in this direction only. */
  metricsMapping: metricMap(Schema.NonEmptyString)
})
export type Link = typeof Link.Type

/** Cached under asset:profile:{id}, with the change sequence it was read at. */
export const AssetProfile = Schema.Struct({
  assetId: AssetId,
  tenantId: TenantId,
  assetTypeId: AssetTypeId,
  parentId: Schema.optionalKey(AssetId),
  status: Schema.Literals(["active", "inactive", "decommissioned"]),
  healthWeight: Schema.Finite, // in the parent's weighted health; custom attribute `healthWeight`, else 1
  profileMappings: metricMap(Schema.NonEmptyString), // of the asset's profile; over the type's, under the link's
  sequence: Schema.Int
})
export type AssetProfile = typeof AssetProfile.Type
