/**
 * The device types of an organization and their versions. A version in force never changes; what changes is the draft.
 * @module
 */
import { type CompiledDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import { type DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { decidePublish, decideRollback } from "@argusiq/domain/device-versions.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import {
  type DeviceType,
  type DeviceTypeChange,
  type DeviceTypeQuery,
  type DeviceTypeSummary,
  type DeviceTypeVersion,
  type NewDeviceType
} from "@argusiq/domain/http/device-types.ts"
import { Context, Effect, Layer } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { Sandbox } from "../sandbox/Sandbox.ts"
import { type Actor } from "./Devices.ts"
import {
  type DeviceTypeRow,
  encodeConfig,
  toDeviceType,
  toSummary,
  toVersion,
  type VersionRow
} from "./deviceTypeRow.ts"
import { decided, history, insertVersion, instant } from "./deviceTypeHistory.ts"
import { newId } from "./newId.ts"
import { lockRow } from "./rows.ts"
import { containing, type Page, readPage } from "./paging.ts"
import {
  type BadCursor,
  NotRegistered,
  orRefusal,
  orUnavailable,
  refuseStale,
  type StaleVersion,
  type WriteRefusal,
  WrongState
} from "./refusals.ts"
import { type NotPublishable, resolveConfig, type ResolvedConfig, withoutCopy } from "./resolvedConfig.ts"

type ChangeRefusal = NotRegistered | StaleVersion | WriteRefusal
type PublishRefusal = ChangeRefusal | WrongState | NotPublishable

/** Of all changes, `basedOn` is the version that must still be the present one. */
export class DeviceTypes extends Context.Service<
  DeviceTypes,
  {
    list(actor: Actor, query: DeviceTypeQuery): Effect.Effect<Page<DeviceTypeSummary>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<DeviceType, NotRegistered | DatabaseUnavailable>
    /** With a configuration: version 1 is published and in force at once. */
    create(actor: Actor, type: NewDeviceType): Effect.Effect<DeviceType, NotPublishable | WrongState | WriteRefusal>
    change(
      actor: Actor,
      id: string,
      change: DeviceTypeChange,
      basedOn?: number
    ): Effect.Effect<DeviceType, ChangeRefusal>
    /** With its versions; refused while devices, rules or other types name it. */
    remove(
      actor: Actor,
      id: string,
      basedOn?: number
    ): Effect.Effect<void, NotRegistered | StaleVersion | WrongState | WriteRefusal>
    /** All of them, newest first, the draft included. */
    versions(
      actor: Actor,
      id: string
    ): Effect.Effect<ReadonlyArray<DeviceTypeVersion>, NotRegistered | DatabaseUnavailable>
    writeDraft(
      actor: Actor,
      id: string,
      draft: { readonly config: DeviceTypeConfig; readonly note?: string },
      basedOn?: number
    ): Effect.Effect<DeviceType, ChangeRefusal>
    /** The draft becomes the version in force two seconds later, with a copy of the converter that it names. */
    publish(actor: Actor, id: string, basedOn?: number): Effect.Effect<DeviceType, PublishRefusal>
    /** An earlier version's configuration, its copy of a converter included, becomes the version in force two seconds later. */
    rollback(
      actor: Actor,
      id: string,
      to: { readonly version: number; readonly note?: string },
      basedOn?: number
    ): Effect.Effect<DeviceType, PublishRefusal>
    /** What a configuration would be published as at the moment. */
    resolve(actor: Actor, config: DeviceTypeConfig): Effect.Effect<ResolvedConfig, NotPublishable | DatabaseUnavailable>
  }
>()("argusiq/layers/registry/DeviceTypes") {
  static readonly layer = Layer.effect(
    DeviceTypes,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const sandbox = yield* Sandbox
      const scoped = inTenantOf(sql)

      const select = (where: Fragment, rest: Fragment, sorted: Fragment) => sql<DeviceTypeRow>`
        select item.id, item.tenant_id, item.name, item.description, item.icon, item.protocol, item.published_version,
          item.created_at, item.updated_at, item.version, published.config, draft.config as draft, ${sorted} as sorted
        from device_types item
        left join device_type_versions published
          on published.device_type_id = item.id and published.number = item.published_version
        left join device_type_versions draft on draft.device_type_id = item.id and draft.state = 'draft'
        where ${where} ${rest}`

      const one = Effect.fnUntraced(function* (id: string) {
        const [row] = yield* select(sql`item.id = ${id}::uuid`, sql.literal(""), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "device type" })
        return toDeviceType(row)
      })
      /** The row of the type is locked first: versions of one type are written one after another. */
      const lock = Effect.fnUntraced(function* (id: string, basedOn: number | undefined) {
        const [row] = yield* sql<{ version: number }>`
          select version from device_types where id = ${id}::uuid for update`
        if (row === undefined) return yield* new NotRegistered({ what: "device type" })
        yield* refuseStale(basedOn, row.version)
      })
      const touch = (actor: Actor, id: string, values: Record<string, unknown> = {}) =>
        sql`update device_types set ${sql.update({ ...values, updated_by: actor.userId ?? null })},
          version = version + 1, updated_at = now() where id = ${id}::uuid`

      const list = Effect.fn("DeviceTypes.list")(function* (actor: Actor, query: DeviceTypeQuery) {
        const filters = query.q === undefined || query.q === "" ? [] : [sql`item.name ilike ${containing(query.q)}`]
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return yield* readPage(sql, query, filters, found, toSummary)
      })

      const get = Effect.fn("DeviceTypes.get")((actor: Actor, id: string) => one(id).pipe(scoped(actor), orUnavailable))

      const resolve = Effect.fn("DeviceTypes.resolve")((actor: Actor, config: DeviceTypeConfig) =>
        resolveConfig(sql, withoutCopy(config)).pipe(scoped(actor), orUnavailable)
      )

      const create = Effect.fn("DeviceTypes.create")((actor: Actor, type: NewDeviceType) =>
        Effect.gen(function* () {
          const id = newId()
          yield* sql`insert into device_types ${sql.insert({
            id,
            tenant_id: actor.tenantId,
            name: type.name,
            description: type.description ?? "",
            icon: type.icon ?? null,
            protocol: type.protocol ?? null,
            created_by: actor.userId ?? null,
            updated_by: actor.userId ?? null
          })}`
          if (type.config !== undefined) {
            const { childType, config } = yield* resolveConfig(sql, withoutCopy(type.config))
            const { version } = yield* decided([], sandbox, (now, evaluate) =>
              decidePublish({ number: 1, config }, [], now, childType, evaluate)
            )
            yield* insertVersion(sql, actor, id, version, "")
            yield* sql`update device_types set published_version = ${version.number} where id = ${id}::uuid`
          }
          return yield* Effect.catchTag(one(id), "NotRegistered", Effect.die)
        }).pipe(scoped(actor), orRefusal)
      )

      const change = Effect.fn("DeviceTypes.change")(
        (actor: Actor, id: string, change: DeviceTypeChange, basedOn?: number) =>
          Effect.gen(function* () {
            yield* lock(id, basedOn)
            yield* touch(actor, id, {
              ...(change.name !== undefined && { name: change.name }),
              ...(change.description !== undefined && { description: change.description }),
              ...(change.icon !== undefined && { icon: change.icon }),
              ...(change.protocol !== undefined && { protocol: change.protocol })
            })
            return yield* one(id)
          }).pipe(scoped(actor), orRefusal)
      )

      const versions = Effect.fn("DeviceTypes.versions")((actor: Actor, id: string) =>
        Effect.gen(function* () {
          yield* one(id)
          const rows = yield* sql<VersionRow>`
            select number, state, effective_at, config, note, author, created_at from device_type_versions
            where device_type_id = ${id}::uuid order by number desc`
          return rows.map(toVersion)
        }).pipe(scoped(actor), orUnavailable)
      )

      const writeDraft = Effect.fn("DeviceTypes.writeDraft")(
        (
          actor: Actor,
          id: string,
          { config, note }: { readonly config: DeviceTypeConfig; readonly note?: string },
          basedOn?: number
        ) =>
          Effect.gen(function* () {
            yield* lock(id, basedOn)
            const draft = sql.json(encodeConfig(withoutCopy(config)))
            const author = actor.userId ?? null
            const replaced = yield* sql`update device_type_versions
              set config = ${draft}, note = coalesce(${note ?? null}, note), author = ${author}::uuid
              where device_type_id = ${id}::uuid and state = 'draft' returning id`
            if (replaced.length === 0) {
              yield* sql`insert into device_type_versions
                  (id, tenant_id, device_type_id, number, state, config, note, author)
                select ${newId()}::uuid, ${actor.tenantId}::uuid, ${id}::uuid, coalesce(max(number), 0) + 1, 'draft',
                  ${draft}, ${note ?? ""}, ${author}::uuid
                from device_type_versions where device_type_id = ${id}::uuid`
            }
            yield* touch(actor, id)
            return yield* one(id)
          }).pipe(scoped(actor), orRefusal)
      )

      const publish = Effect.fn("DeviceTypes.publish")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lock(id, basedOn)
          const { draft, published } = yield* history(sql, id)
          const resolved = draft === undefined ? undefined : yield* resolveConfig(sql, draft.config)
          const ready = draft && resolved && { ...draft, config: resolved.config }
          const { version } = yield* decided(published, sandbox, (now, evaluate) =>
            decidePublish(ready, published, now, resolved?.childType, evaluate)
          )
          yield* sql`update device_type_versions set number = ${version.number}, state = 'published',
              author = ${actor.userId ?? null}::uuid, effective_at = ${instant(sql, version.effectiveAt)},
              config = ${sql.json(encodeConfig(version.config))}
            where device_type_id = ${id}::uuid and state = 'draft'`
          yield* touch(actor, id, { published_version: version.number })
          return yield* one(id)
        }).pipe(scoped(actor), orRefusal)
      )

      const rollback = Effect.fn("DeviceTypes.rollback")(
        (actor: Actor, id: string, to: { readonly version: number; readonly note?: string }, basedOn?: number) =>
          Effect.gen(function* () {
            yield* lock(id, basedOn)
            const { draft, published } = yield* history(sql, id)
            const target = published.find(({ number }) => number === to.version)
            let childType: CompiledDeviceType | undefined
            if (target !== undefined) childType = (yield* resolveConfig(sql, target.config)).childType
            const { draftNumber, version } = yield* decided(published, sandbox, (now, evaluate) =>
              decideRollback(to.version, draft, published, now, childType, evaluate)
            )
            if (draftNumber !== undefined) {
              yield* sql`update device_type_versions set number = ${draftNumber}
                where device_type_id = ${id}::uuid and state = 'draft'`
            }
            yield* insertVersion(sql, actor, id, version, to.note ?? `Back to version ${to.version}`)
            yield* touch(actor, id, { published_version: version.number })
            return yield* one(id)
          }).pipe(scoped(actor), orRefusal)
      )

      const remove = Effect.fn("DeviceTypes.remove")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lockRow(sql, "device_types", "device type", id, basedOn)
          const [named] = yield* sql<{ by: string }>`
            select 'The device "' || name || '" is of this type' as by from devices where device_type_id = ${id}::uuid
            union all select 'The device type "' || other.name || '" makes devices of this type'
              from device_type_versions version join device_types other on other.id = version.device_type_id
              where other.id <> ${id}::uuid and (version.state = 'draft' or version.number = other.published_version)
                and position(${id}::text in version.config::text) > 0
            union all select 'The rule "' || rule.name || '" is about this type' from threshold_rules rule
              join threshold_rule_versions present on present.rule_id = rule.id and present.number = rule.current_version
              where rule.ended_at is null and present.config -> 'scope' @> ${sql.json({ kind: "type", id })}
            limit 1`
          if (named !== undefined)
            return yield* new WrongState({ message: `${named.by}: change or remove that first.` })
          yield* sql`delete from device_types where id = ${id}::uuid`
        }).pipe(scoped(actor), orRefusal)
      )

      return DeviceTypes.of({
        remove,
        list,
        get,
        create,
        change,
        versions,
        writeDraft,
        publish,
        rollback,
        resolve
      })
    })
  )
}
