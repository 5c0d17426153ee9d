/**
 * The rules of an organization. A version of a rule never changes: a change writes the next one, and an ended rule keeps its
 * versions, so that what was said under it can be said again.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { ruleOf } from "@argusiq/domain/http/rule-shape.ts"
import {
  type NewRule,
  type Rule,
  type RuleChange,
  type RuleHistoryItem,
  type RuleQuery
} from "@argusiq/domain/http/rules.ts"
import { type RuleConfig } from "@argusiq/domain/rule/rule.ts"
import { Context, Effect, Layer, Result } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Actor } from "./Devices.ts"
import { newId } from "./newId.ts"
import { containing, type Page, readPage } from "./paging.ts"
import {
  type BadCursor,
  NotRegistered,
  NotValid,
  orRefusal,
  orUnavailable,
  refuseStale,
  type StaleVersion,
  type WriteRefusal,
  WrongState
} from "./refusals.ts"
import {
  decodeRule,
  effectiveFrom,
  encodeRule,
  endRule,
  insertRuleVersion,
  type RuleRow,
  type RuleVersionRow,
  toHistoryItem,
  toRule
} from "./ruleRow.ts"

type ChangeRefusal = NotRegistered | StaleVersion | WrongState | NotValid | WriteRefusal

/** Of all changes, `basedOn` is the version that must still be the present one. */
export class Rules extends Context.Service<
  Rules,
  {
    list(actor: Actor, query: RuleQuery): Effect.Effect<Page<Rule>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<Rule, NotRegistered | DatabaseUnavailable>
    create(actor: Actor, rule: NewRule): Effect.Effect<Rule, NotValid | WriteRefusal>
    /** Refused for a rule that stands in an asset type's configuration: it is changed there. */
    change(actor: Actor, id: string, change: RuleChange, basedOn?: number): Effect.Effect<Rule, ChangeRefusal>
    /** Ends it; refused as `change` is. */
    remove(
      actor: Actor,
      id: string,
      basedOn?: number
    ): Effect.Effect<void, NotRegistered | StaleVersion | WrongState | DatabaseUnavailable>
    /** Newest first. */
    versions(
      actor: Actor,
      id: string
    ): Effect.Effect<ReadonlyArray<RuleHistoryItem>, NotRegistered | DatabaseUnavailable>
  }
>()("argusiq/layers/registry/Rules") {
  static readonly layer = Layer.effect(
    Rules,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)

      const select = (where: Fragment, rest: Fragment, sorted: Fragment) => sql<RuleRow>`
        select item.*, present.effective_at, present.config, ${sorted} as sorted
        from threshold_rules item
        join threshold_rule_versions present on present.rule_id = item.id and present.number = item.current_version
        where item.ended_at is null and ${where} ${rest}`

      const row = Effect.fnUntraced(function* (id: string, rest = "") {
        const [row] = yield* select(sql`item.id = ${id}::uuid`, sql.literal(rest), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "rule" })
        return row
      })
      const locked = Effect.fnUntraced(function* (id: string, basedOn: number | undefined) {
        const present = yield* row(id, "for update of item")
        yield* refuseStale(basedOn, present.version)
        if (present.owner_type_id !== null) {
          return yield* new WrongState({
            message: `The rule stands in the configuration of asset type ${present.owner_type_id}: change it there.`
          })
        }
        return present
      })

      const list = Effect.fn("Rules.list")(function* (actor: Actor, query: RuleQuery) {
        const { assetTypeId, deviceTypeId, entityId, entityType, groupId, isActive, q } = query
        const filters: Array<Fragment> = []
        const typeId = assetTypeId ?? deviceTypeId
        if (q !== undefined && q !== "") filters.push(sql`item.name ilike ${containing(q)}`)
        if (entityType !== undefined) filters.push(sql`present.config ->> 'entityType' = ${entityType}`)
        if (assetTypeId !== undefined) filters.push(sql`present.config ->> 'entityType' = 'asset'`)
        if (deviceTypeId !== undefined) filters.push(sql`present.config ->> 'entityType' = 'device'`)
        if (typeId !== undefined)
          filters.push(sql`present.config -> 'scope' @> ${sql.json({ kind: "type", id: typeId })}`)
        if (groupId !== undefined) {
          filters.push(sql`present.config -> 'scope' @> ${sql.json({ kind: "group", id: groupId })}`)
        }
        if (entityId !== undefined) {
          filters.push(sql`present.config -> 'scope' @> ${sql.json({ kind: "entities", ids: [entityId] })}`)
        }
        if (isActive !== undefined) filters.push(sql`present.config -> 'isActive' = ${sql.json(isActive === "true")}`)
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return yield* readPage(sql, query, filters, found, toRule)
      })

      const get = Effect.fn("Rules.get")((actor: Actor, id: string) =>
        Effect.map(row(id), toRule).pipe(scoped(actor), orUnavailable)
      )

      /** What a scope names must be the organization's own. */
      const refuseScope = Effect.fnUntraced(function* ({ entityType, scope }: RuleConfig) {
        if (scope.kind === "all") return
        const ids = scope.kind === "entities" ? scope.ids : [scope.id]
        const table = scope.kind === "group" ? "asset_groups" : `${entityType}${scope.kind === "type" ? "_types" : "s"}`
        const found = yield* sql<{ id: string }>`
          select id from ${sql.literal(table)} where id = any(${ids}::text[]::uuid[])`
        const known = new Set(found.map(({ id }) => id))
        const path =
          scope.kind === "group"
            ? () => "groupId"
            : scope.kind === "type"
              ? () => `${entityType}TypeId`
              : (index: number) => (ids.length === 1 ? "entityId" : `entityIds[${index}]`)
        const faults = ids.flatMap((id, index) =>
          known.has(id) ? [] : [{ path: path(index), message: "does not exist in this organization" }]
        )
        if (faults.length > 0) return yield* new NotValid({ faults })
      })
      const checked = Effect.fnUntraced(function* (...written: Parameters<typeof ruleOf>) {
        const config = ruleOf(...written)
        if (Result.isFailure(config)) return yield* new NotValid({ faults: config.failure })
        yield* refuseScope(config.success)
        return config.success
      })

      const create = Effect.fn("Rules.create")((actor: Actor, rule: NewRule) =>
        Effect.gen(function* () {
          const config = yield* checked(rule, rule.entityType)
          const id = newId()
          yield* sql`insert into threshold_rules ${sql.insert({
            id,
            tenant_id: actor.tenantId,
            name: config.name,
            description: rule.description ?? "",
            created_by: actor.userId ?? null,
            updated_by: actor.userId ?? null
          })}`
          const effectiveAt = yield* effectiveFrom(sql, id)
          yield* insertRuleVersion(sql, actor, { id, number: 1, config: encodeRule(config), effectiveAt })
          return toRule(yield* Effect.catchTag(row(id), "NotRegistered", Effect.die))
        }).pipe(scoped(actor), orRefusal)
      )

      const change = Effect.fn("Rules.change")((actor: Actor, id: string, change: RuleChange, basedOn?: number) =>
        Effect.gen(function* () {
          const present = yield* locked(id, basedOn)
          const before = decodeRule(present.config)
          const config = yield* checked(change, before.entityType, before)
          const number = present.current_version + 1
          const effectiveAt = yield* effectiveFrom(sql, id)
          yield* insertRuleVersion(sql, actor, { id, number, config: encodeRule(config), effectiveAt })
          const values = {
            name: config.name,
            ...(change.description !== undefined && { description: change.description }),
            current_version: number,
            updated_by: actor.userId ?? null
          }
          yield* sql`update threshold_rules set ${sql.update(values)}, version = version + 1, updated_at = now()
            where id = ${id}::uuid`
          return toRule(yield* row(id))
        }).pipe(scoped(actor), orRefusal)
      )

      const remove = Effect.fn("Rules.remove")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          const { config, current_version } = yield* locked(id, basedOn)
          const effectiveAt = yield* effectiveFrom(sql, id)
          const last = { id, number: current_version + 1, config: config as Record<string, unknown>, effectiveAt }
          yield* endRule(sql, actor, last)
        }).pipe(scoped(actor), orUnavailable)
      )

      const versions = Effect.fn("Rules.versions")((actor: Actor, id: string) =>
        Effect.gen(function* () {
          yield* row(id)
          const rows = yield* sql<RuleVersionRow>`
            select number, effective_at, config, author, created_at from threshold_rule_versions
            where rule_id = ${id}::uuid order by number desc`
          return rows.map(toHistoryItem)
        }).pipe(scoped(actor), orUnavailable)
      )

      return Rules.of({ list, get, create, change, remove, versions })
    })
  )
}
