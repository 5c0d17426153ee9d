/**
 * The asset types of an organization and their versions. A version in force never changes; what changes is the draft. A
 * version of a type whose children inherit from it makes versions of theirs too.
 * @module
 */
import { type AssetTypeConfig } from "@argusiq/domain/asset/asset-type.ts"
import { inherit } from "@argusiq/domain/asset/type-inheritance.ts"
import {
  type AssetType,
  type AssetTypeChange,
  type AssetTypeQuery,
  type AssetTypeVersion,
  type NewAssetType,
  type TelemetryConfig,
  type TelemetryConfigChange
} from "@argusiq/domain/http/asset-types.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { Context, Effect, Layer } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { Sandbox } from "../sandbox/Sandbox.ts"
import { configFaults } from "./assetTypeGate.ts"
import { publishVersions } from "./assetTypePublication.ts"
import {
  type AssetTypeRow,
  type AssetTypeVersionRow,
  decodeConfig,
  encodeConfig,
  readConfig,
  toAssetType,
  toVersion
} from "./assetTypeRow.ts"
import { lockTypes, readTypes } from "./assetTypeTree.ts"
import { endTypeRules } from "./typeRules.ts"
import { isoOrNull } from "./deviceRow.ts"
import { type Actor } from "./Devices.ts"
import { newId } from "./newId.ts"
import { lockRow } from "./rows.ts"
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
import { checkedFields } from "./customFields.ts"
import { type NotPublishable } from "./resolvedConfig.ts"

type ChangeRefusal = NotRegistered | StaleVersion | NotValid | WriteRefusal
type PublishRefusal = ChangeRefusal | WrongState | NotPublishable

/** Of all changes, `basedOn` is the version that must still be the present one. */
export class AssetTypes extends Context.Service<
  AssetTypes,
  {
    list(actor: Actor, query: AssetTypeQuery): Effect.Effect<Page<AssetType>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<AssetType, NotRegistered | DatabaseUnavailable>
    /** With a configuration, or with a parent type that is published: version 1 is published and in force at once. */
    create(actor: Actor, type: NewAssetType): Effect.Effect<AssetType, NotPublishable | NotValid | WriteRefusal>
    change(
      actor: Actor,
      id: string,
      change: AssetTypeChange,
      basedOn?: number
    ): Effect.Effect<AssetType, ChangeRefusal | NotPublishable>
    /** Refused while an asset, a profile or a child type names it. Its rules end. */
    remove(actor: Actor, id: string, basedOn?: number): Effect.Effect<void, NotRegistered | StaleVersion | WriteRefusal>
    telemetryConfig(actor: Actor, id: string): Effect.Effect<TelemetryConfig, NotRegistered | DatabaseUnavailable>
    /** All of them, newest first, the draft included. */
    versions(
      actor: Actor,
      id: string
    ): Effect.Effect<ReadonlyArray<AssetTypeVersion>, NotRegistered | DatabaseUnavailable>
    /** Changes the draft, which begins as what the type itself has published. */
    changeDraft(
      actor: Actor,
      id: string,
      change: TelemetryConfigChange,
      basedOn?: number
    ): Effect.Effect<TelemetryConfig, ChangeRefusal>
    /** The draft becomes the version in force two seconds later. */
    publish(actor: Actor, id: string, basedOn?: number): Effect.Effect<TelemetryConfig, PublishRefusal>
    /** What the type itself set in an earlier version becomes the version in force two seconds later. */
    rollback(
      actor: Actor,
      id: string,
      to: { readonly version: number; readonly note?: string },
      basedOn?: number
    ): Effect.Effect<TelemetryConfig, PublishRefusal>
  }
>()("argusiq/layers/registry/AssetTypes") {
  static readonly layer = Layer.effect(
    AssetTypes,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const using = { sql, sandbox: yield* Sandbox }
      const scoped = inTenantOf(sql)

      const select = (where: Fragment, rest: Fragment, sorted: Fragment) => sql<AssetTypeRow>`
        select item.*, ${sorted} as sorted, exists (
          select from asset_type_versions draft where draft.asset_type_id = item.id and draft.state = 'draft'
        ) as has_draft
        from asset_types item where ${where} ${rest}`

      const one = Effect.fnUntraced(function* (id: string) {
        const [row] = yield* select(sql`item.id = ${id}::uuid`, sql.literal(""), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "asset type" })
        return toAssetType(row)
      })
      const lock = Effect.fnUntraced(function* (actor: Actor, id: string, basedOn: number | undefined) {
        yield* lockTypes(sql, actor)
        const type = yield* one(id)
        yield* refuseStale(basedOn, type.version)
        return type
      })
      const touch = (actor: Actor, id: string, values: Record<string, unknown> = {}) =>
        sql`update asset_types set ${sql.update({ ...values, updated_by: actor.userId ?? null })},
          version = version + 1, updated_at = now() where id = ${id}::uuid`
      const versionRows = (id: string) => sql<AssetTypeVersionRow>`
        select number, state, effective_at, config, resolved, note, author, created_at from asset_type_versions
        where asset_type_id = ${id}::uuid order by number desc`

      const shown = Effect.fnUntraced(function* (id: string) {
        const type = yield* one(id)
        const rows = yield* versionRows(id)
        const draft = rows.find(({ state }) => state === "draft")
        const published = rows.find(({ number }) => number === type.publishedVersion)
        return {
          assetTypeId: type.id,
          publishedVersion: type.publishedVersion,
          effectiveAt: isoOrNull(published?.effective_at ?? null),
          config: published === undefined ? null : decodeConfig(published.config),
          resolved: published === undefined ? null : decodeConfig(published.resolved),
          draft: draft === undefined ? null : decodeConfig(draft.config),
          note: draft?.note ?? null,
          version: type.version
        } satisfies TelemetryConfig
      })

      const list = Effect.fn("AssetTypes.list")(function* (actor: Actor, query: AssetTypeQuery) {
        const filters: Array<Fragment> = []
        if (query.q !== undefined && query.q !== "") filters.push(sql`item.name ilike ${containing(query.q)}`)
        if (query.parentTypeId !== undefined) filters.push(sql`item.parent_type_id = ${query.parentTypeId}::uuid`)
        if (query.category !== undefined) filters.push(sql`item.category = ${query.category}`)
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return yield* readPage(sql, query, filters, found, toAssetType)
      })

      const get = Effect.fn("AssetTypes.get")((actor: Actor, id: string) => one(id).pipe(scoped(actor), orUnavailable))

      const columnsOf = (change: AssetTypeChange) => ({
        ...(change.name !== undefined && { name: change.name }),
        ...(change.description !== undefined && { description: change.description }),
        ...(change.category !== undefined && { category: change.category }),
        ...(change.icon !== undefined && { icon: change.icon }),
        ...(change.color !== undefined && { color: change.color }),
        ...(change.parentTypeId !== undefined && { parent_type_id: change.parentTypeId }),
        ...(change.customFields !== undefined && { custom_fields: sql.json(change.customFields) }),
        ...(change.dashboard !== undefined && { dashboard: sql.json(change.dashboard) })
      })
      /** What can be wrong with a type beside its configuration. */
      const refuseFaults = Effect.fnUntraced(function* (id: string, change: AssetTypeChange) {
        yield* checkedFields(change.customFields)
        if (change.parentTypeId === undefined || change.parentTypeId === null) return
        yield* (yield* readTypes(sql)).refuseParent(id, change.parentTypeId)
      })

      const create = Effect.fn("AssetTypes.create")((actor: Actor, type: NewAssetType) =>
        Effect.gen(function* () {
          const id = newId()
          yield* lockTypes(sql, actor)
          yield* refuseFaults(id, type)
          yield* sql`insert into asset_types ${sql.insert({
            id,
            tenant_id: actor.tenantId,
            ...columnsOf(type),
            created_by: actor.userId ?? null,
            updated_by: actor.userId ?? null
          })}`
          const tree = yield* readTypes(sql)
          const inherits = tree.parentOf(id)?.published !== undefined
          if (type.config !== undefined || inherits) {
            const config = type.config ?? decodeConfig({})
            yield* publishVersions(using, actor, tree, id, config, { note: "", path: "config." })
          }
          return yield* one(id)
        }).pipe(Effect.catchTag("NotRegistered", Effect.die), scoped(actor), orRefusal)
      )

      const change = Effect.fn("AssetTypes.change")(
        (actor: Actor, id: string, change: AssetTypeChange, basedOn?: number) =>
          Effect.gen(function* () {
            const present = yield* lock(actor, id, basedOn)
            yield* refuseFaults(id, change)
            yield* touch(actor, id, columnsOf(change))
            if (change.parentTypeId !== undefined && change.parentTypeId !== present.parentTypeId) {
              const tree = yield* readTypes(sql)
              const published = tree.node(id)?.published
              if (published !== undefined) {
                yield* publishVersions(using, actor, tree, id, published.config, {
                  note: "Another parent type",
                  path: ""
                })
              }
            }
            return yield* one(id)
          }).pipe(scoped(actor), orRefusal)
      )

      const remove = Effect.fn("AssetTypes.remove")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lockTypes(sql, actor)
          yield* lockRow(sql, "asset_types", "asset type", id, basedOn)
          yield* endTypeRules(sql, actor, id)
          yield* sql`delete from asset_types where id = ${id}::uuid`
        }).pipe(scoped(actor), orRefusal)
      )

      const telemetryConfig = Effect.fn("AssetTypes.telemetryConfig")((actor: Actor, id: string) =>
        shown(id).pipe(scoped(actor), orUnavailable)
      )

      const versions = Effect.fn("AssetTypes.versions")((actor: Actor, id: string) =>
        Effect.gen(function* () {
          yield* one(id)
          return (yield* versionRows(id)).map(toVersion)
        }).pipe(scoped(actor), orUnavailable)
      )

      const changeDraft = Effect.fn("AssetTypes.changeDraft")(
        (actor: Actor, id: string, { note, ...change }: TelemetryConfigChange, basedOn?: number) =>
          Effect.gen(function* () {
            const { publishedVersion } = yield* lock(actor, id, basedOn)
            const rows = yield* versionRows(id)
            const draft = rows.find(({ state }) => state === "draft")
            const present = draft ?? rows.find(({ number }) => number === publishedVersion)
            const parts = { ...(present?.config as Record<string, unknown> | undefined), ...change }
            const config = yield* readConfig(
              Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== null))
            )
            const parent = (yield* readTypes(sql)).parentOf(id)?.published?.resolved
            const faults = configFaults(inherit(parent, config))
            if (faults.length > 0) return yield* new NotValid({ faults })
            const author = actor.userId ?? null
            const stored = sql.json(encodeConfig(config))
            if (draft !== undefined) {
              yield* sql`update asset_type_versions
                set config = ${stored}, note = coalesce(${note ?? null}, note), author = ${author}::uuid
                where asset_type_id = ${id}::uuid and state = 'draft'`
            } else {
              yield* sql`insert into asset_type_versions (id, tenant_id, asset_type_id, number, state, config, note, author)
                values (${newId()}::uuid, ${actor.tenantId}::uuid, ${id}::uuid, ${(publishedVersion ?? 0) + 1}, 'draft',
                  ${stored}, ${note ?? ""}, ${author}::uuid)`
            }
            yield* touch(actor, id)
            return yield* shown(id)
          }).pipe(scoped(actor), orRefusal)
      )

      const publish = Effect.fn("AssetTypes.publish")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lock(actor, id, basedOn)
          const draft = (yield* versionRows(id)).find(({ state }) => state === "draft")
          if (draft === undefined) {
            return yield* new WrongState({ message: "There is no draft to publish: write one first." })
          }
          yield* sql`delete from asset_type_versions where asset_type_id = ${id}::uuid and state = 'draft'`
          const config: AssetTypeConfig = decodeConfig(draft.config)
          yield* publishVersions(using, actor, yield* readTypes(sql), id, config, { note: draft.note, path: "" })
          return yield* shown(id)
        }).pipe(scoped(actor), orRefusal)
      )

      const rollback = Effect.fn("AssetTypes.rollback")(
        (actor: Actor, id: string, to: { readonly version: number; readonly note?: string }, basedOn?: number) =>
          Effect.gen(function* () {
            const { publishedVersion } = yield* lock(actor, id, basedOn)
            const target = (yield* versionRows(id)).find(
              ({ number, state }) => number === to.version && state === "published"
            )
            if (target === undefined) {
              const message = `There is no published version ${to.version} to go back to: choose one of those that were published.`
              return yield* new WrongState({ message })
            }
            if (to.version === publishedVersion) {
              return yield* new WrongState({ message: `Version ${to.version} is the one in force already.` })
            }
            const note = to.note ?? `Back to version ${to.version}`
            yield* publishVersions(using, actor, yield* readTypes(sql), id, decodeConfig(target.config), {
              note,
              path: ""
            })
            return yield* shown(id)
          }).pipe(scoped(actor), orRefusal)
      )

      return AssetTypes.of({
        list,
        get,
        create,
        change,
        remove,
        telemetryConfig,
        versions,
        changeDraft,
        publish,
        rollback
      })
    })
  )
}
