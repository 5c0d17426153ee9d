/**
 * Keeps the rules that stand in asset types' configurations as ordinary rules.
 * @module
 */
import { type AssetTypeId, type Instant } from "@argusiq/domain/ids.ts"
import { rulesOfType } from "@argusiq/domain/rule/type-rules.ts"
import { type NewTypeVersion } from "@argusiq/domain/asset/type-versions.ts"
import { type PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { isDeepStrictEqual } from "node:util"
import { type Actor } from "./Devices.ts"
import { newId } from "./newId.ts"
import { effectiveFrom, encodeRule, endRule, insertRuleVersion } from "./ruleRow.ts"

interface OwnedRow {
  readonly id: string
  readonly owner_key: string
  readonly current_version: number
  readonly ended: boolean
  readonly config: Record<string, unknown>
}

/** Makes the type's rules those of its version, from the moment on at which that is in force: what it changes is superseded. */
export const syncTypeRules = Effect.fnUntraced(function* (
  sql: PgClient.PgClient,
  actor: Actor,
  type: NewTypeVersion,
  effectiveAt: Instant
) {
  const owned = yield* sql<OwnedRow>`
    select rule.id, rule.owner_key, rule.current_version, rule.ended_at is not null as ended, version.config
    from threshold_rules rule
    join threshold_rule_versions version on version.rule_id = rule.id and version.number = rule.current_version
    where rule.owner_type_id = ${type.id}::uuid`
  const wanted = rulesOfType(type.id as AssetTypeId, type.name, type.resolved)
  const add = (id: string, number: number, config: unknown) =>
    insertRuleVersion(sql, actor, { id, number, config, effectiveAt, typeVersion: type.number })

  for (const [key, rule] of wanted) {
    const present = owned.find(({ owner_key }) => owner_key === key)
    const config = encodeRule(rule)
    if (present === undefined) {
      const id = newId()
      yield* sql`insert into threshold_rules ${sql.insert({
        id,
        tenant_id: actor.tenantId,
        name: rule.name,
        owner_type_id: type.id,
        owner_key: key,
        created_by: actor.userId ?? null,
        updated_by: actor.userId ?? null
      })}`
      yield* add(id, 1, config)
    } else if (present.ended || !isDeepStrictEqual(present.config, config)) {
      const number = present.current_version + 1
      yield* add(present.id, number, config)
      yield* sql`update threshold_rules set name = ${rule.name}, current_version = ${number}, ended_at = null,
          version = version + 1, updated_at = now(), updated_by = ${actor.userId ?? null}::uuid
        where id = ${present.id}::uuid`
    }
  }
  for (const { config, current_version, ended, id, owner_key } of owned) {
    if (ended || wanted.has(owner_key)) continue
    yield* endRule(sql, actor, { id, number: current_version + 1, config, effectiveAt, typeVersion: type.number })
  }
})

/** When the type itself ends. */
export const endTypeRules = Effect.fnUntraced(function* (sql: PgClient.PgClient, actor: Actor, typeId: string) {
  const rules = yield* sql<{ id: string; current_version: number; config: Record<string, unknown> }>`
    select rule.id, rule.current_version, version.config
    from threshold_rules rule
    join threshold_rule_versions version on version.rule_id = rule.id and version.number = rule.current_version
    where rule.owner_type_id = ${typeId}::uuid and rule.ended_at is null`
  for (const { config, current_version, id } of rules) {
    const effectiveAt = yield* effectiveFrom(sql, id)
    yield* endRule(sql, actor, { id, number: current_version + 1, config, effectiveAt })
  }
})
