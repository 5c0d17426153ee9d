/**
 * Rows of `entity_edges` that say which device measures what of which asset, as REST shows them.
 * @module
 */
import { type Link, type LinkedAsset, type LinkedDevice } from "@argusiq/domain/http/links.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { type AssetId, type AssetTypeId, type DeviceId, type LinkId } from "@argusiq/domain/ids.ts"
import { isoOrNull } from "./deviceRow.ts"

/** Instants in epoch microseconds. */
export interface LinkRow {
  readonly link_id: LinkId
  readonly device_id: DeviceId
  readonly asset_id: AssetId
  readonly valid_from: number
  readonly valid_until: number | null
  readonly metadata: {
    readonly port?: string
    readonly role: Link["role"]
    readonly metrics_mapping?: Link["metricsMapping"]
  }
}

/** The columns of a {@link LinkRow} of the alias `link`. */
export const linkColumns = `link.id as link_id, link.source_entity_id as device_id, link.target_entity_id as asset_id,
  (extract(epoch from link.valid_from) * 1000000)::float8 as valid_from,
  (extract(epoch from link.valid_until) * 1000000)::float8 as valid_until, link.metadata`

export const toLink = ({ metadata, ...row }: LinkRow): Link => ({
  id: row.link_id,
  deviceId: row.device_id,
  assetId: row.asset_id,
  port: metadata.port ?? null,
  role: metadata.role,
  validFrom: isoFromMicros(row.valid_from),
  validUntil: row.valid_until === null ? null : isoFromMicros(row.valid_until),
  metricsMapping: metadata.metrics_mapping ?? {}
})

export interface LinkedAssetRow extends LinkRow {
  readonly name: string
  readonly asset_type_id: AssetTypeId
  readonly status: string
  readonly health_score: number | null
}
export const toLinkedAsset = (row: LinkedAssetRow): LinkedAsset => ({
  link: toLink(row),
  id: row.asset_id,
  name: row.name,
  assetTypeId: row.asset_type_id,
  status: row.status,
  healthScore: row.health_score
})

export interface LinkedDeviceRow extends LinkRow {
  readonly name: string
  readonly status: string
  readonly connectivity: LinkedDevice["connectivityStatus"] | null
  readonly last_seen_at: Date | null
}
export const toLinkedDevice = (row: LinkedDeviceRow): LinkedDevice => {
  const link = toLink(row)
  const { port, role, validFrom, validUntil } = link
  return {
    link,
    id: row.device_id,
    name: row.name,
    port,
    role,
    validFrom,
    validUntil,
    status: row.status,
    connectivityStatus: row.connectivity ?? "unknown",
    lastSeenAt: isoOrNull(row.last_seen_at)
  }
}
