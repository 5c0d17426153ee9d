/**
 * The asset groups of an organization: lists, and saved filters that are judged as of today.
 * @module
 */
import {
  type AssetGroup,
  type AssetGroupChange,
  type AssetGroupQuery,
  type NewAssetGroup
} from "@argusiq/domain/http/asset-groups.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { Context, Effect, Layer } from "effect"
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
  type StaleVersion,
  type WriteRefusal,
  WrongState
} from "./refusals.ts"
import { lockRow, updateRow } from "./rows.ts"

interface GroupRow {
  readonly id: string
  readonly tenant_id: TenantId
  readonly name: string
  readonly description: string
  readonly filter: AssetGroup["filter"]
  readonly asset_count: number
  readonly created_at: Date
  readonly updated_at: Date
  readonly version: number
  readonly sorted: string
}
const toGroup = (row: GroupRow): AssetGroup => ({
  id: row.id,
  organizationId: row.tenant_id,
  name: row.name,
  description: row.description,
  filter: row.filter,
  assetCount: row.asset_count,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
  version: row.version
})

export class AssetGroups extends Context.Service<
  AssetGroups,
  {
    list(actor: Actor, query: AssetGroupQuery): Effect.Effect<Page<AssetGroup>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<AssetGroup, NotRegistered | DatabaseUnavailable>
    create(actor: Actor, group: NewAssetGroup): Effect.Effect<AssetGroup, NotValid | WriteRefusal>
    /** `basedOn`: the version that must still be the present one. */
    change(
      actor: Actor,
      id: string,
      change: AssetGroupChange,
      basedOn?: number
    ): Effect.Effect<AssetGroup, NotRegistered | StaleVersion | NotValid | WriteRefusal>
    /** Refused while a rule names it. */
    remove(
      actor: Actor,
      id: string,
      basedOn?: number
    ): Effect.Effect<void, NotRegistered | StaleVersion | WrongState | DatabaseUnavailable>
  }
>()("argusiq/layers/registry/AssetGroups") {
  static readonly layer = Layer.effect(
    AssetGroups,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)
      const select = (where: Fragment, rest: Fragment, sorted: Fragment) => sql<GroupRow>`
        select item.*, ${sorted} as sorted, case when item.filter is null
          then (select count(*)::int from asset_group_members member where member.group_id = item.id)
          else (select count(*)::int from assets asset where asset_matches(item.filter, asset)) end as asset_count
        from asset_groups item where ${where} ${rest}`

      const one = Effect.fnUntraced(function* (id: string) {
        const [row] = yield* select(sql`item.id = ${id}::uuid`, sql.literal(""), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "asset group" })
        return toGroup(row)
      })

      const list = Effect.fn("AssetGroups.list")(function* (actor: Actor, query: AssetGroupQuery) {
        const filters = query.q === undefined || query.q === "" ? [] : [sql`item.name ilike ${containing(query.q)}`]
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return yield* readPage(sql, query, filters, found, toGroup)
      })
      const get = Effect.fn("AssetGroups.get")((actor: Actor, id: string) => one(id).pipe(scoped(actor), orUnavailable))

      /** The list as it is to be. */
      const setMembers = Effect.fnUntraced(function* (actor: Actor, id: string, assetIds: ReadonlyArray<string>) {
        const wanted = [...new Set(assetIds)]
        const found = yield* sql<{ id: string }>`select id from assets where id = any(${wanted}::text[]::uuid[])`
        const known = new Set(found.map((asset) => asset.id))
        const faults = assetIds.flatMap((assetId, index) =>
          known.has(assetId) ? [] : [{ path: `assetIds[${index}]`, message: "does not exist in this organization" }]
        )
        if (faults.length > 0) return yield* new NotValid({ faults: faults.slice(0, 100) })
        yield* sql`delete from asset_group_members
          where group_id = ${id}::uuid and asset_id <> all(${wanted}::text[]::uuid[])`
        yield* sql`insert into asset_group_members (group_id, asset_id, tenant_id)
          select ${id}::uuid, asset_id, ${actor.tenantId}::uuid from unnest(${wanted}::text[]::uuid[]) as asset_id
          on conflict do nothing`
      })
      const columnsOf = ({ description, filter, name }: AssetGroupChange) => ({
        ...(name !== undefined && { name }),
        ...(description !== undefined && { description }),
        ...(filter !== undefined && { filter: filter === null ? null : sql.json(filter) })
      })

      const create = Effect.fn("AssetGroups.create")((actor: Actor, group: NewAssetGroup) =>
        Effect.gen(function* () {
          const id = newId()
          yield* sql`insert into asset_groups ${sql.insert({
            id,
            tenant_id: actor.tenantId,
            ...columnsOf(group),
            created_by: actor.userId ?? null,
            updated_by: actor.userId ?? null
          })}`
          if (group.assetIds !== undefined) yield* setMembers(actor, id, group.assetIds)
          return yield* one(id)
        }).pipe(Effect.catchTag("NotRegistered", Effect.die), scoped(actor), orRefusal)
      )

      const change = Effect.fn("AssetGroups.change")(
        (actor: Actor, id: string, change: AssetGroupChange, basedOn?: number) =>
          Effect.gen(function* () {
            yield* lockRow(sql, "asset_groups", "asset group", id, basedOn)
            const isList = change.assetIds !== undefined
            yield* updateRow(sql, "asset_groups", actor, id, { ...columnsOf(change), ...(isList && { filter: null }) })
            if (change.filter !== undefined && change.filter !== null) yield* setMembers(actor, id, [])
            if (change.assetIds !== undefined) yield* setMembers(actor, id, change.assetIds)
            return yield* one(id)
          }).pipe(scoped(actor), orRefusal)
      )

      const remove = Effect.fn("AssetGroups.remove")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lockRow(sql, "asset_groups", "asset group", id, basedOn)
          const naming = yield* sql<{ name: string }>`
            select rule.name from threshold_rules rule
            join threshold_rule_versions present on present.rule_id = rule.id and present.number = rule.current_version
            where rule.ended_at is null and present.config -> 'scope' @> ${sql.json({ kind: "group", id })} limit 1`
          if (naming[0] !== undefined) {
            const message = `The rule "${naming[0].name}" is about this group: change or end the rule first.`
            return yield* new WrongState({ message })
          }
          yield* sql`delete from asset_groups where id = ${id}::uuid`
        }).pipe(scoped(actor), orUnavailable)
      )

      return AssetGroups.of({ list, get, create, change, remove })
    })
  )
}
