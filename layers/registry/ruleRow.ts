/**
 * Rules and their versions as they are stored.
 * @module
 */
import { MICROS_UNTIL_IN_FORCE } from "@argusiq/domain/device-versions.ts"
import { shapeOf } from "@argusiq/domain/http/rule-shape.ts"
import { type Rule, type RuleHistoryItem } from "@argusiq/domain/http/rules.ts"
import { type AssetTypeId, type Instant, type RuleId, type TenantId } from "@argusiq/domain/ids.ts"
import { RuleConfig } from "@argusiq/domain/rule/rule.ts"
import { type PgClient } from "@effect/sql-pg"
import { Clock, Effect, Schema } from "effect"
import { type Actor } from "./Devices.ts"
import { instant } from "./deviceTypeHistory.ts"

export const encodeRule = Schema.encodeSync(RuleConfig)
export const decodeRule = Schema.decodeUnknownSync(RuleConfig)

export interface RuleRow {
  readonly id: RuleId
  readonly tenant_id: TenantId
  readonly description: string
  readonly current_version: number
  readonly owner_type_id: AssetTypeId | null
  readonly effective_at: Date
  readonly config: unknown
  readonly created_at: Date
  readonly updated_at: Date
  readonly version: number
  readonly sorted: string
}
export interface RuleVersionRow {
  readonly number: number
  readonly effective_at: Date
  readonly config: unknown
  readonly author: string | null
  readonly created_at: Date
}

export const toRule = (row: RuleRow): Rule => ({
  id: row.id,
  organizationId: row.tenant_id,
  description: row.description,
  ...shapeOf(decodeRule(row.config)),
  ownerAssetTypeId: row.owner_type_id,
  ruleVersion: row.current_version,
  effectiveAt: row.effective_at.toISOString(),
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
  version: row.version
})

export const toHistoryItem = (row: RuleVersionRow): RuleHistoryItem => ({
  number: row.number,
  effectiveAt: row.effective_at.toISOString(),
  config: decodeRule(row.config),
  author: row.author,
  createdAt: row.created_at.toISOString()
})

/** When a version written now comes into force: two seconds later, so that every process knows of it, and after the last one. */
export const effectiveFrom = Effect.fnUntraced(function* (sql: PgClient.PgClient, ruleId: string) {
  const [row] = yield* sql<{ last: number | null }>`
    select (extract(epoch from max(effective_at)) * 1000000)::float8 as last from threshold_rule_versions
    where rule_id = ${ruleId}::uuid`
  const now = (yield* Clock.currentTimeMillis) * 1_000
  return Math.max(now + MICROS_UNTIL_IN_FORCE, (row?.last ?? Number.NEGATIVE_INFINITY) + 1)
})

interface NewRuleVersion {
  readonly id: string
  readonly number: number
  readonly config: unknown // encoded
  readonly effectiveAt: Instant
  readonly typeVersion?: number
}

export const insertRuleVersion = (sql: PgClient.PgClient, actor: Actor, version: NewRuleVersion) =>
  sql`insert into threshold_rule_versions (rule_id, tenant_id, number, effective_at, config, type_version, author)
    values (${version.id}::uuid, ${actor.tenantId}::uuid, ${version.number}, ${instant(sql, version.effectiveAt)},
      ${sql.json(version.config)}, ${version.typeVersion ?? null}::int, ${actor.userId ?? null}::uuid)`

/** A last version that says nothing: what the one before it said ends there. */
export const endRule = Effect.fnUntraced(function* (
  sql: PgClient.PgClient,
  actor: Actor,
  last: NewRuleVersion & { readonly config: Record<string, unknown> }
) {
  yield* insertRuleVersion(sql, actor, { ...last, config: { ...last.config, isActive: false } })
  yield* sql`update threshold_rules set current_version = ${last.number}, ended_at = now(), version = version + 1,
      updated_at = now(), updated_by = ${actor.userId ?? null}::uuid
    where id = ${last.id}::uuid`
})
