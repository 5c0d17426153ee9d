/**
 * What the caches of assets ask PostgreSQL: many keys with one statement, each row with the change sequence of the snapshot
 * it was read in.
 * @module
 */
import type { AssetProfile, Link } from "@argusiq/domain/asset/asset.ts"
import type { AssetTypeProfile } from "@argusiq/domain/asset/asset-type.ts"
import type { AssetId, AssetTypeId, LinkId, DeviceId, TenantId } from "@argusiq/domain/ids.ts"
import { isUuid } from "@argusiq/domain/uuid.ts"
import { type PgClient } from "@effect/sql-pg"
import { Effect } from "effect"

/** The links of one device, oldest first. */
export interface DeviceLinks {
  readonly links: ReadonlyArray<Link>
  readonly sequence: number
}

/** `versions[].config` is what somebody has published, whatever this release makes of it. */
export interface StoredAssetType extends Omit<AssetTypeProfile, "versions"> {
  readonly versions: Array<{ readonly number: number; readonly effectiveAt: number; readonly config: unknown }>
}

export const sequenceOf = (sql: PgClient.PgClient) =>
  sql.literal("(select number from change_sequence where scope = 'profiles')::float8")

/** A timestamptz as epoch microseconds, exact to the last one. */
export const micros = (sql: PgClient.PgClient, column: string) =>
  sql.literal(`(extract(epoch from ${column}) * 1000000)::float8`)

interface LinkRow {
  readonly id: string
  readonly device_id: string
  readonly asset_id: string
  readonly tenant_id: string
  readonly valid_from: number
  readonly valid_until: number | null
  readonly metadata: {
    readonly port?: string
    readonly role: Link["role"]
    readonly metrics_mapping?: Readonly<Record<string, string>>
  }
}
const toLink = ({ metadata, ...row }: LinkRow): Link => ({
  linkId: row.id as LinkId,
  deviceId: row.device_id as DeviceId,
  assetId: row.asset_id as AssetId,
  tenantId: row.tenant_id as TenantId,
  ...(metadata.port !== undefined && { port: metadata.port }),
  role: metadata.role,
  validFrom: row.valid_from,
  ...(row.valid_until !== null && { validUntil: row.valid_until }),
  metricsMapping: metadata.metrics_mapping ?? {}
})

export const makeAssetQueries = (sql: PgClient.PgClient) => {
  const sequence = sequenceOf(sql)

  /** An entry for every id: that a device has no links is known too. */
  const links = Effect.fnUntraced(function* (deviceIds: ReadonlyArray<string>) {
    const rows = yield* sql<{ sequence: number; links: ReadonlyArray<LinkRow> | null; device_id: string }>`
      select asked.id as device_id, ${sequence} as sequence, (
        select jsonb_agg(jsonb_build_object('id', id, 'device_id', source_entity_id, 'asset_id', target_entity_id,
            'tenant_id', tenant_id, 'valid_from', ${micros(sql, "valid_from")},
            'valid_until', ${micros(sql, "valid_until")}, 'metadata', metadata) order by valid_from, id)
        from entity_edges
        where source_entity_id = asked.id and source_entity_type = 'device' and target_entity_type = 'asset'
          and relationship_type = 'MONITORED_BY'
      ) as links
      from unnest(${deviceIds.filter(isUuid)}::text[]::uuid[]) as asked (id)`
    return new Map(
      rows.map((row): [string, DeviceLinks] => [
        row.device_id,
        { links: (row.links ?? []).map(toLink), sequence: row.sequence }
      ])
    )
  })

  const assets = Effect.fnUntraced(function* (ids: ReadonlyArray<string>) {
    const rows = yield* sql<{
      id: AssetId
      tenant_id: TenantId
      asset_type_id: AssetTypeId
      parent_id: AssetId | null
      status: AssetProfile["status"]
      health_weight: number | null
      telemetry_mappings: Readonly<Record<string, string>> | null
      sequence: number
    }>`select asset.id, asset.tenant_id, asset.asset_type_id, asset.parent_id, asset.status,
        case when jsonb_typeof(custom_attributes -> 'healthWeight') = 'number'
          then (custom_attributes -> 'healthWeight')::float8 end as health_weight,
        profile.telemetry_mappings, ${sequence} as sequence
      from assets asset left join asset_profiles profile on profile.id = asset.profile_id
      where asset.id = any(${ids.filter(isUuid)}::text[]::uuid[])`
    return new Map(
      rows.map((row): [AssetId, AssetProfile] => [
        row.id,
        {
          assetId: row.id,
          tenantId: row.tenant_id,
          assetTypeId: row.asset_type_id,
          ...(row.parent_id !== null && { parentId: row.parent_id }),
          status: row.status,
          healthWeight: Math.max(0, row.health_weight ?? 1),
          profileMappings: row.telemetry_mappings ?? {},
          sequence: row.sequence
        }
      ])
    )
  })

  const types = Effect.fnUntraced(function* (ids: ReadonlyArray<string>) {
    const rows = yield* sql<{
      asset_type_id: AssetTypeId
      number: number
      effective_at: number
      resolved: unknown
      sequence: number
    }>`select asset_type_id, number, ${micros(sql, "effective_at")} as effective_at, resolved, ${sequence} as sequence
      from asset_type_versions
      where state = 'published' and asset_type_id = any(${ids.filter(isUuid)}::text[]::uuid[])
      order by asset_type_id, effective_at, number`
    const types = new Map<string, StoredAssetType>()
    for (const row of rows) {
      const assetTypeId = row.asset_type_id
      let type = types.get(assetTypeId)
      if (type === undefined) types.set(assetTypeId, (type = { assetTypeId, versions: [], sequence: row.sequence }))
      type.versions.push({ number: row.number, effectiveAt: row.effective_at, config: row.resolved })
    }
    return types
  })

  return { links, assets, types }
}
