/**
 * The assets of an organization, in their tree.
 * @module
 */
import { type Asset, type AssetChange, type AssetQuery, type NewAsset } from "@argusiq/domain/http/assets.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type AssetTypeId } from "@argusiq/domain/ids.ts"
import { Context, Effect, Layer } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type AssetRow, toAsset } from "./assetRow.ts"
import { refuseAttributes } from "./customFields.ts"
import { type Actor } from "./Devices.ts"
import { newId } from "./newId.ts"
import { containing, type Page, readPage } from "./paging.ts"
import {
  type BadCursor,
  BadReference,
  NotRegistered,
  type NotValid,
  orRefusal,
  orUnavailable,
  type StaleVersion,
  type WriteRefusal
} from "./refusals.ts"
import { lockRow, refuseParent, updateRow } from "./rows.ts"

export class Assets extends Context.Service<
  Assets,
  {
    list(actor: Actor, query: AssetQuery): Effect.Effect<Page<Asset>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<Asset, NotRegistered | DatabaseUnavailable>
    /** With a profile: of its type, with its default attributes under those that are given. */
    create(actor: Actor, asset: NewAsset): Effect.Effect<Asset, NotValid | WriteRefusal>
    /** What `change` does not name stays. `basedOn`: the version that must still be the present one. */
    change(
      actor: Actor,
      id: string,
      change: AssetChange,
      basedOn?: number
    ): Effect.Effect<Asset, NotRegistered | StaleVersion | NotValid | WriteRefusal>
    /** Refused while other assets are below it. Gives the storage keys of its documents, whose files nothing names any more. */
    remove(
      actor: Actor,
      id: string,
      basedOn?: number
    ): Effect.Effect<ReadonlyArray<string>, NotRegistered | StaleVersion | WriteRefusal>
  }
>()("argusiq/layers/registry/Assets") {
  static readonly layer = Layer.effect(
    Assets,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)

      const select = (where: Fragment, rest: Fragment, sorted: Fragment) => sql<AssetRow>`
        select item.*, state.health_score, state.health_score_updated_at, state.health_score_computed_by,
          state.last_telemetry_at, ${sorted} as sorted,
          (select count(*)::int from assets child where child.parent_id = item.id) as children_count,
          (select count(distinct source_entity_id)::int from entity_edges link
            where link.target_entity_id = item.id and link.relationship_type = 'MONITORED_BY'
              and link.valid_from <= now() and (link.valid_until is null or link.valid_until > now())
          ) as linked_devices_count
        from assets item left join asset_status state on state.asset_id = item.id
        where ${where} ${rest}`

      const one = Effect.fnUntraced(function* (id: string) {
        const [row] = yield* select(sql`item.id = ${id}::uuid`, sql.literal(""), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "asset" })
        return toAsset(row)
      })

      const list = Effect.fn("Assets.list")(function* (actor: Actor, query: AssetQuery) {
        const { assetTypeId, groupId, parentId, profileId, q, spaceId, status } = query
        const filters: Array<Fragment> = []
        if (q !== undefined && q !== "") filters.push(sql`item.name ilike ${containing(q)}`)
        if (parentId === "root") filters.push(sql`item.parent_id is null`)
        else if (parentId !== undefined) filters.push(sql`item.parent_id = ${parentId}::uuid`)
        if (assetTypeId !== undefined) filters.push(sql`item.asset_type_id = ${assetTypeId}::uuid`)
        if (profileId !== undefined) filters.push(sql`item.profile_id = ${profileId}::uuid`)
        if (status !== undefined) filters.push(sql`item.status = ${status}`)
        if (spaceId !== undefined) {
          filters.push(sql`item.space_id in (
            with recursive inside as (
              select id from spaces where id = ${spaceId}::uuid
              union select space.id from spaces space join inside on space.parent_id = inside.id
            ) select id from inside)`)
        }
        if (groupId !== undefined) {
          filters.push(sql`exists (
            select from asset_groups g where g.id = ${groupId}::uuid and case when g.filter is null
              then exists (select from asset_group_members member where member.group_id = g.id and member.asset_id = item.id)
              else asset_matches(g.filter, item) end)`)
        }
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return yield* readPage(sql, query, filters, found, toAsset)
      })

      const get = Effect.fn("Assets.get")((actor: Actor, id: string) => one(id).pipe(scoped(actor), orUnavailable))

      const columnsOf = ({ location, planPosition, ...change }: AssetChange) => ({
        ...(change.name !== undefined && { name: change.name }),
        ...(change.description !== undefined && { description: change.description }),
        ...(change.assetTypeId !== undefined && { asset_type_id: change.assetTypeId }),
        ...(change.profileId !== undefined && { profile_id: change.profileId }),
        ...(change.parentId !== undefined && { parent_id: change.parentId }),
        ...(change.spaceId !== undefined && { space_id: change.spaceId }),
        ...(location !== undefined && { lat: location?.lat ?? null, lon: location?.lon ?? null }),
        ...(planPosition !== undefined && { plan_x: planPosition?.x ?? null, plan_y: planPosition?.y ?? null }),
        ...(change.status !== undefined && { status: change.status }),
        ...(change.customAttributes !== undefined && { custom_attributes: sql.json(change.customAttributes) })
      })

      interface ProfileRow {
        readonly asset_type_id: AssetTypeId
        readonly default_attributes: Asset["customAttributes"]
      }
      const profileOf = Effect.fnUntraced(function* (id: string | null | undefined) {
        if (id === null || id === undefined) return undefined
        const [row] = yield* sql<ProfileRow>`
          select asset_type_id, default_attributes from asset_profiles where id = ${id}::uuid`
        if (row !== undefined) return row
        return yield* new BadReference({ path: "profileId", message: "does not exist in this organization" })
      })
      const refuseOtherType = (profile: ProfileRow | undefined, assetTypeId: string) =>
        profile === undefined || profile.asset_type_id === assetTypeId
          ? Effect.void
          : new BadReference({
              path: "profileId",
              message: `is a profile of asset type ${profile.asset_type_id}, not of ${assetTypeId}`
            })

      const create = Effect.fn("Assets.create")((actor: Actor, asset: NewAsset) =>
        Effect.gen(function* () {
          const id = newId()
          const profile = yield* profileOf(asset.profileId)
          const assetTypeId = asset.assetTypeId ?? profile?.asset_type_id
          if (assetTypeId === undefined) {
            return yield* new BadReference({ path: "assetTypeId", message: "is needed where no profile says it" })
          }
          yield* refuseOtherType(profile, assetTypeId)
          const customAttributes = { ...profile?.default_attributes, ...asset.customAttributes }
          yield* refuseAttributes(sql, assetTypeId, customAttributes)
          yield* refuseParent(sql, "assets", actor, id, asset.parentId)
          yield* sql`insert into assets ${sql.insert({
            id,
            tenant_id: actor.tenantId,
            ...columnsOf({ ...asset, assetTypeId, customAttributes }),
            created_by: actor.userId ?? null,
            updated_by: actor.userId ?? null
          })}`
          return yield* one(id)
        }).pipe(Effect.catchTag("NotRegistered", Effect.die), scoped(actor), orRefusal)
      )

      const change = Effect.fn("Assets.change")((actor: Actor, id: string, change: AssetChange, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lockRow(sql, "assets", "asset", id, basedOn)
          const present = yield* one(id)
          const { assetTypeId, customAttributes, profileId } = { ...present, ...change }
          if (change.assetTypeId !== undefined || change.profileId !== undefined) {
            yield* refuseOtherType(yield* profileOf(profileId), assetTypeId)
          }
          if (change.assetTypeId !== undefined || change.customAttributes !== undefined) {
            yield* refuseAttributes(sql, assetTypeId, customAttributes)
          }
          yield* refuseParent(sql, "assets", actor, id, change.parentId)
          yield* updateRow(sql, "assets", actor, id, columnsOf(change))
          return yield* one(id)
        }).pipe(scoped(actor), orRefusal)
      )

      const remove = Effect.fn("Assets.remove")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lockRow(sql, "assets", "asset", id, basedOn)
          yield* sql`delete from assets where id = ${id}::uuid`
          const documents = yield* sql<{ storage_key: string }>`
            delete from documents where owner_type = 'asset' and owner_id = ${id}::uuid returning storage_key`
          return documents.map(({ storage_key }) => storage_key)
        }).pipe(scoped(actor), orRefusal)
      )

      return Assets.of({ list, get, create, change, remove })
    })
  )
}
