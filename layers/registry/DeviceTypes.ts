/**
 * The device types of an organization and their versions. A version in force never changes; what changes is the draft.
 * @module
 */
import { type DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { type ConfigurationFault, publicationFaults } from "@argusiq/domain/device-type-trial.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import {
  type DeviceType,
  type DeviceTypeChange,
  type DeviceTypeQuery,
  type DeviceTypeSummary,
  type DeviceTypeVersion,
  type NewDeviceType
} from "@argusiq/domain/http/device-types.ts"
import { Clock, Context, Effect, Layer, Schema } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenant } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Actor } from "./Devices.ts"
import {
  type DeviceTypeRow,
  encodeConfig,
  toDeviceType,
  toSummary,
  toVersion,
  type VersionRow
} from "./deviceTypeRow.ts"
import { newId } from "./newId.ts"
import { containing, type Page, readPage } from "./paging.ts"
import {
  type BadCursor,
  NotRegistered,
  orRefusal,
  orUnavailable,
  StaleVersion,
  type WriteRefusal,
  WrongState
} from "./refusals.ts"

/** A published version comes into force so much later, so that every process knows of it before. */
const secondsUntilInForce = 2

/** The configuration cannot be published; every reason with its path. */
export class NotPublishable extends Schema.TaggedError<NotPublishable>()("NotPublishable", {
  faults: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String }))
}) {}

export class DeviceTypes extends Context.Service<
  DeviceTypes,
  {
    list(actor: Actor, query: DeviceTypeQuery): Effect.Effect<Page<DeviceTypeSummary>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<DeviceType, NotRegistered | DatabaseUnavailable>
    /** With a configuration: version 1 is published and in force at once. */
    create(actor: Actor, type: NewDeviceType): Effect.Effect<DeviceType, NotPublishable | WriteRefusal>
    /** `basedOn`: the version that must still be the present one. */
    change(
      actor: Actor,
      id: string,
      change: DeviceTypeChange,
      basedOn?: number
    ): Effect.Effect<DeviceType, NotRegistered | StaleVersion | WriteRefusal>
    /** All of them, newest first, the draft included. */
    versions(
      actor: Actor,
      id: string
    ): Effect.Effect<ReadonlyArray<DeviceTypeVersion>, NotRegistered | DatabaseUnavailable>
    writeDraft(
      actor: Actor,
      id: string,
      config: DeviceTypeConfig,
      note?: string
    ): Effect.Effect<DeviceType, NotRegistered | WriteRefusal>
    /** The draft becomes the version in force two seconds later. */
    publish(
      actor: Actor,
      id: string
    ): Effect.Effect<DeviceType, NotRegistered | WrongState | NotPublishable | WriteRefusal>
  }
>()("argusiq/layers/registry/DeviceTypes") {
  static readonly layer = Layer.effect(
    DeviceTypes,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped =
        (actor: Actor) =>
        <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.provideService(inTenant(actor.tenantId)(effect), AppSql, sql)
      const nowMicros = Effect.map(Clock.currentTimeMillis, (millis) => millis * 1_000)

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
      const lock = Effect.fnUntraced(function* (id: string) {
        const [row] = yield* sql<{ version: number }>`
          select version from device_types where id = ${id}::uuid for update`
        if (row === undefined) return yield* new NotRegistered({ what: "device type" })
        return row
      })

      const list = Effect.fn("DeviceTypes.list")(function* (actor: Actor, query: DeviceTypeQuery) {
        const filters = query.q === undefined || query.q === "" ? [] : [sql`item.name ilike ${containing(query.q)}`]
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return yield* readPage(sql, query, filters, found, toSummary)
      })

      const get = Effect.fn("DeviceTypes.get")((actor: Actor, id: string) => one(id).pipe(scoped(actor), orUnavailable))

      const create = Effect.fn("DeviceTypes.create")((actor: Actor, type: NewDeviceType) =>
        Effect.gen(function* () {
          const { config } = type
          if (config !== undefined) yield* refuseUnpublishable(config)
          const id = newId()
          yield* sql`insert into device_types ${sql.insert({
            id,
            tenant_id: actor.tenantId,
            name: type.name,
            description: type.description ?? "",
            icon: type.icon ?? null,
            protocol: type.protocol ?? null,
            published_version: config === undefined ? null : 1,
            created_by: actor.userId ?? null,
            updated_by: actor.userId ?? null
          })}`
          if (config !== undefined) {
            yield* sql`insert into device_type_versions
                (id, tenant_id, device_type_id, number, state, effective_at, config, author)
              values (${newId()}::uuid, ${actor.tenantId}::uuid, ${id}::uuid, 1, 'published', clock_timestamp(),
                ${sql.json(encodeConfig(config))}, ${actor.userId ?? null}::uuid)`
          }
          return yield* Effect.catchTag(one(id), "NotRegistered", Effect.die)
        }).pipe(scoped(actor), orRefusal)
      )

      const refuseUnpublishable = Effect.fnUntraced(function* (config: DeviceTypeConfig) {
        const faults: ReadonlyArray<ConfigurationFault> = publicationFaults(config, yield* nowMicros)
        if (faults.length > 0) return yield* new NotPublishable({ faults })
      })

      const change = Effect.fn("DeviceTypes.change")(
        (actor: Actor, id: string, change: DeviceTypeChange, basedOn?: number) =>
          Effect.gen(function* () {
            const present = yield* lock(id)
            if (basedOn !== undefined && basedOn !== present.version) {
              return yield* new StaleVersion({ present: present.version })
            }
            const values = {
              ...(change.name !== undefined && { name: change.name }),
              ...(change.description !== undefined && { description: change.description }),
              ...(change.icon !== undefined && { icon: change.icon }),
              ...(change.protocol !== undefined && { protocol: change.protocol }),
              updated_by: actor.userId ?? null
            }
            yield* sql`update device_types set ${sql.update(values)}, version = version + 1, updated_at = now()
              where id = ${id}::uuid`
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
        (actor: Actor, id: string, config: DeviceTypeConfig, note?: string) =>
          Effect.gen(function* () {
            yield* lock(id)
            const draft = sql.json(encodeConfig(config))
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
            return yield* one(id)
          }).pipe(scoped(actor), orRefusal)
      )

      const publish = Effect.fn("DeviceTypes.publish")((actor: Actor, id: string) =>
        Effect.gen(function* () {
          yield* lock(id)
          const { draft } = yield* one(id)
          if (draft === null) {
            return yield* new WrongState({ message: "There is no draft to publish: write one first." })
          }
          yield* refuseUnpublishable(draft)
          // The first version applies to all that came before it too, so it need not wait.
          const [published] = yield* sql<{ number: number }>`
            update device_type_versions set state = 'published', author = ${actor.userId ?? null}::uuid,
              effective_at = clock_timestamp()
                + case when number = 1 then interval '0' else make_interval(secs => ${secondsUntilInForce}) end
            where device_type_id = ${id}::uuid and state = 'draft' returning number`
          yield* sql`update device_types set published_version = ${published?.number ?? null}, version = version + 1,
              updated_at = now(), updated_by = ${actor.userId ?? null}::uuid
            where id = ${id}::uuid`
          return yield* one(id)
        }).pipe(scoped(actor), orRefusal)
      )

      return DeviceTypes.of({ list, get, create, change, versions, writeDraft, publish })
    })
  )
}
