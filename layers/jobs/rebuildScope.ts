/**
 * Whose past a rebuild makes anew, in which order: an asset comes after all that is below it.
 * @module
 */
import type { RebuildScope } from "@argusiq/domain/rebuild.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import { uuids } from "../telemetry/columns.ts"

type Sql = SqlClient.SqlClient

/** The condition on `item`, a row of assets or devices. */
const within = (sql: Sql, entityType: "asset" | "device", scope: RebuildScope) => {
  switch (scope.kind) {
    case "all":
      return sql.literal("true")
    case "entities":
      return sql`item.id = any(${uuids(scope.ids)})`
    case "type":
      return sql`item.${sql(entityType === "asset" ? "asset_type_id" : "device_type_id")} = ${scope.id}::uuid`
    case "group":
      return sql`(exists (select from asset_group_members where group_id = ${scope.id}::uuid and asset_id = item.id)
        or exists (select from asset_groups held where held.id = ${scope.id}::uuid and held.filter is not null
          and asset_matches(held.filter, item)))`
  }
}

/** Where an entity stands in the order: its height above the lowest of its tree, and its id. */
export interface Place {
  readonly height: number
  readonly id: string
}

const PLACES_AT_ONCE = 200

/** The next devices after a place. */
const nextDevices = (sql: Sql, tenantId: string, scope: RebuildScope, after: Place | undefined) =>
  sql<Place>`select item.id::text as id, 0 as height from devices item
    where item.tenant_id = ${tenantId}::uuid and ${within(sql, "device", scope)}
      and item.id > ${after?.id ?? "00000000-0000-0000-0000-000000000000"}::uuid
    order by item.id limit ${PLACES_AT_ONCE}`

/** The next assets after a place, with those above the ones of the scope: what they roll up changes too. */
const nextAssets = (sql: Sql, tenantId: string, scope: RebuildScope, after: Place | undefined) =>
  sql<Place>`
    with recursive asked as (
      select item.id, item.parent_id from assets item
      where item.tenant_id = ${tenantId}::uuid and ${within(sql, "asset", scope)}
      union
      select parent.id, parent.parent_id from asked join assets parent on parent.id = asked.parent_id
    ), above as (
      select id, parent_id, id as bottom, 0 as height from asked
      union
      select parent.id, parent.parent_id, above.bottom, above.height + 1
      from above join assets parent on parent.id = above.parent_id
    ), placed as (
      select id, max(height) as height from above group by id
    )
    select id::text as id, height from placed
    where (height, id) > (${after?.height ?? -1}, ${after?.id ?? "00000000-0000-0000-0000-000000000000"}::uuid)
    order by height, id limit ${PLACES_AT_ONCE}`

export const nextPlaces = (
  sql: Sql,
  tenantId: string,
  entityType: "asset" | "device",
  scope: RebuildScope,
  after: Place | undefined
): Effect.Effect<ReadonlyArray<Place>, SqlError> =>
  (entityType === "asset" ? nextAssets : nextDevices)(sql, tenantId, scope, after)

/** How many the scope itself takes in, in the organization that the transaction sees. */
export const countScope = (sql: Sql, entityType: "asset" | "device", scope: RebuildScope) =>
  Effect.map(
    sql<{ n: number }>`select count(*)::int as n from ${sql(entityType === "asset" ? "assets" : "devices")} item
      where ${within(sql, entityType, scope)}`,
    ([row]) => row?.n ?? 0
  )

/** The devices that have ever been an asset's, and its children. */
export const feedsOfAsset = Effect.fnUntraced(function* (sql: Sql, assetId: string) {
  const devices = yield* sql<{ id: string }>`select distinct source_entity_id::text as id from entity_edges
    where target_entity_id = ${assetId}::uuid and relationship_type = 'MONITORED_BY' and source_entity_type = 'device'`
  const children = yield* sql<{ id: string }>`select id::text as id from assets where parent_id = ${assetId}::uuid`
  return { devices: devices.map(({ id }) => id), children: children.map(({ id }) => id) }
})

export interface StoredDraft {
  readonly number: number
  readonly config: unknown
  /** What the parent type's published version comes to; null: there is none. */
  readonly inherited: unknown
}

/** The draft of an asset type; undefined: there is none. */
export const draftOf = (sql: Sql, assetTypeId: string): Effect.Effect<StoredDraft | undefined, SqlError> =>
  sql<StoredDraft>`
    select draft.number, draft.config, (
      select resolved from asset_type_versions version join asset_types parent on parent.id = version.asset_type_id
      where parent.id = type.parent_type_id and version.number = parent.published_version) as inherited
    from asset_type_versions draft join asset_types type on type.id = draft.asset_type_id
    where draft.asset_type_id = ${assetTypeId}::uuid and draft.state = 'draft'`.pipe(Effect.map(([row]) => row))
