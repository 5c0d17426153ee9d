/**
 * Assets, their types, links and rules as rows, for tests of what reads them.
 * @module
 */
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"

/** A published version, in force since an hour unless told; `effectiveAt` in epoch milliseconds. */
export const publishAssetType = Effect.fnUntraced(function* (options: {
  readonly tenantId: string
  readonly assetTypeId: string
  readonly number: number
  readonly config: object
  readonly effectiveAt?: number
}) {
  const sql = yield* OwnerSql
  const { assetTypeId, config, effectiveAt = Date.now() - 3_600_000, number, tenantId } = options
  yield* sql`insert into asset_type_versions (id, tenant_id, asset_type_id, number, state, effective_at, config, resolved)
    values (${randomUUID()}, ${tenantId}, ${assetTypeId}, ${number}, 'published', ${new Date(effectiveAt)},
      ${sql.json(config)}, ${sql.json(config)})`
  yield* sql`update asset_types set published_version = ${number} where id = ${assetTypeId}`
})

/** With a version 1, unless there is no configuration. */
export const insertAssetType = Effect.fnUntraced(function* (tenantId: string, config?: object) {
  const sql = yield* OwnerSql
  const id = randomUUID()
  yield* sql`insert into asset_types (id, tenant_id, name) values (${id}, ${tenantId}, ${id})`
  if (config !== undefined) yield* publishAssetType({ tenantId, assetTypeId: id, number: 1, config })
  return id
})

export const insertAsset = Effect.fnUntraced(function* (options: {
  readonly tenantId: string
  readonly assetTypeId: string
  readonly parentId?: string
  readonly profileId?: string
  readonly customAttributes?: object
}) {
  const sql = yield* OwnerSql
  const id = randomUUID()
  yield* sql`insert into assets (id, tenant_id, name, asset_type_id, parent_id, profile_id, custom_attributes)
    values (${id}, ${options.tenantId}, ${id}, ${options.assetTypeId}, ${options.parentId ?? null},
      ${options.profileId ?? null}, ${sql.json(options.customAttributes ?? {})})`
  return id
})

/** Instants in epoch milliseconds. */
export const insertLink = Effect.fnUntraced(function* (options: {
  readonly tenantId: string
  readonly deviceId: string
  readonly assetId: string
  readonly validFrom?: number
  readonly validUntil?: number
  readonly metadata?: object
}) {
  const sql = yield* OwnerSql
  const id = randomUUID()
  const { assetId, deviceId, metadata, tenantId, validFrom = Date.now() - 3_600_000, validUntil } = options
  yield* sql`insert into entity_edges (id, tenant_id, source_entity_type, source_entity_id, target_entity_type,
      target_entity_id, relationship_type, valid_from, valid_until, metadata)
    values (${id}, ${tenantId}, 'device', ${deviceId}, 'asset', ${assetId}, 'MONITORED_BY', ${new Date(validFrom)},
      ${validUntil === undefined ? null : new Date(validUntil)}, ${sql.json({ role: "primary", ...metadata })})`
  return id
})

/** Its versions, oldest first, each a second after the one before it. */
export const insertRule = Effect.fnUntraced(function* (tenantId: string, ...configs: ReadonlyArray<object>) {
  const sql = yield* OwnerSql
  const id = randomUUID()
  yield* sql`insert into threshold_rules (id, tenant_id, name, current_version)
    values (${id}, ${tenantId}, ${id}, ${configs.length})`
  for (const [index, config] of configs.entries()) {
    yield* sql`insert into threshold_rule_versions (rule_id, tenant_id, number, effective_at, config)
      values (${id}, ${tenantId}, ${index + 1}, ${new Date(Date.now() - 3_600_000 + index * 1_000)}, ${sql.json({
        name: id,
        entityType: "asset",
        scope: { kind: "all" },
        metricKey: "temperature",
        condition: { operator: ">", value: index },
        severity: "warning",
        ...config
      })})`
  }
  return id
})
