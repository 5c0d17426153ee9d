/**
 * What the cache of rules asks PostgreSQL.
 * @module
 */
import { isUuid } from "@argusiq/domain/uuid.ts"
import { type PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { micros, sequenceOf } from "./assetQueries.ts"

/** `config` is what somebody has saved, whatever this release makes of it. */
export interface StoredRuleVersion {
  readonly rule_id: string
  readonly number: number
  readonly effective_at: number
  readonly config: unknown
}
/** The versions of all rules of an organization, by rule, oldest first. */
export interface StoredRules {
  readonly tenantId: string
  readonly versions: ReadonlyArray<StoredRuleVersion>
  readonly sequence: number
}

/** The groups that an asset is in. */
export interface GroupsOfAsset {
  readonly groups: ReadonlyArray<string>
  readonly sequence: number
}

export const makeRuleQueries = (sql: PgClient.PgClient) => {
  const sequence = sequenceOf(sql)

  /** An entry for every id: that an organization has no rules is known too. */
  const rules = Effect.fnUntraced(function* (tenantIds: ReadonlyArray<string>) {
    const rows = yield* sql<{
      id: string
      versions: ReadonlyArray<StoredRuleVersion> | null
      sequence: number
    }>`select asked.id, ${sequence} as sequence, (
        select jsonb_agg(jsonb_build_object('rule_id', rule_id, 'number', number,
          'effective_at', ${micros(sql, "effective_at")}, 'config', config) order by rule_id, number)
        from threshold_rule_versions where tenant_id = asked.id
      ) as versions
      from unnest(${tenantIds.filter(isUuid)}::text[]::uuid[]) as asked (id)`
    return new Map(
      rows.map((row): [string, StoredRules] => [
        row.id,
        { tenantId: row.id, versions: row.versions ?? [], sequence: row.sequence }
      ])
    )
  })

  const groups = Effect.fnUntraced(function* (assetIds: ReadonlyArray<string>) {
    const rows = yield* sql<{ id: string } & GroupsOfAsset>`
      select item.id, ${sequence} as sequence, array(
        select group_id from asset_group_members where asset_id = item.id
        union all
        select id from asset_groups
        where tenant_id = item.tenant_id and filter is not null and asset_matches(filter, item)
      ) as groups
      from assets item where item.id = any(${assetIds.filter(isUuid)}::text[]::uuid[])`
    return new Map(rows.map(({ id, ...found }) => [id, found]))
  })

  return { rules, groups }
}
