/**
 * A row of `assets` with what is known of it elsewhere, as the asset that REST shows.
 * @module
 */
import { type Asset } from "@argusiq/domain/http/assets.ts"
import { type AssetId, type AssetTypeId, type TenantId } from "@argusiq/domain/ids.ts"
import { isoOrNull } from "./deviceRow.ts"

export interface AssetRow {
  readonly id: AssetId
  readonly tenant_id: TenantId
  readonly name: string
  readonly description: string
  readonly asset_type_id: AssetTypeId
  readonly profile_id: string | null
  readonly parent_id: AssetId | null
  readonly space_id: string | null
  readonly lat: number | null
  readonly lon: number | null
  readonly plan_x: number | null
  readonly plan_y: number | null
  readonly status: Asset["status"]
  readonly custom_attributes: Asset["customAttributes"]
  readonly health_score: number | null
  readonly health_score_updated_at: Date | null
  readonly health_score_computed_by: string | null
  readonly last_telemetry_at: Date | null
  readonly children_count: number
  readonly linked_devices_count: number
  readonly created_at: Date
  readonly updated_at: Date
  readonly version: number
  readonly sorted: string
}

export const toAsset = (row: AssetRow): Asset => ({
  id: row.id,
  organizationId: row.tenant_id,
  name: row.name,
  description: row.description,
  assetTypeId: row.asset_type_id,
  profileId: row.profile_id,
  parentId: row.parent_id,
  spaceId: row.space_id,
  location: row.lat === null || row.lon === null ? null : { lat: row.lat, lon: row.lon },
  planPosition: row.plan_x === null || row.plan_y === null ? null : { x: row.plan_x, y: row.plan_y },
  status: row.status,
  customAttributes: row.custom_attributes,
  healthScore: row.health_score,
  healthScoreUpdatedAt: isoOrNull(row.health_score_updated_at),
  healthScoreComputedBy: row.health_score_computed_by,
  lastTelemetryAt: isoOrNull(row.last_telemetry_at),
  childrenCount: row.children_count,
  linkedDevicesCount: row.linked_devices_count,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
  version: row.version
})
