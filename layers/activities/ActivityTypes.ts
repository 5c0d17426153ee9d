/**
 * The activity types of an organization.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import {
  type ActivityType,
  type ActivityTypeChange,
  type ActivityTypeQuery,
  type NewActivityType
} from "@argusiq/domain/http/activity-types.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { Context, Effect, Layer } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Actor } from "../registry/Devices.ts"
import { newId } from "../registry/newId.ts"
import { containing, type Page, readPage } from "../registry/paging.ts"
import {
  type BadCursor,
  NotRegistered,
  orRefusal,
  orUnavailable,
  type StaleVersion,
  type WriteRefusal,
  WrongState
} from "../registry/refusals.ts"
import { lockRow, updateRow } from "../registry/rows.ts"

interface TypeRow {
  readonly id: string
  readonly tenant_id: TenantId
  readonly name: string
  readonly description: string
  readonly icon: string | null
  readonly color: string | null
  readonly created_at: Date
  readonly updated_at: Date
  readonly version: number
  readonly sorted: string
}
const toType = (row: TypeRow): ActivityType => ({
  id: row.id,
  organizationId: row.tenant_id,
  name: row.name,
  description: row.description,
  icon: row.icon,
  color: row.color,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
  version: row.version
})

export class ActivityTypes extends Context.Service<
  ActivityTypes,
  {
    list(actor: Actor, query: ActivityTypeQuery): Effect.Effect<Page<ActivityType>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<ActivityType, NotRegistered | DatabaseUnavailable>
    create(actor: Actor, type: NewActivityType): Effect.Effect<ActivityType, WriteRefusal>
    /** `basedOn`: the version that must still be the present one. */
    change(
      actor: Actor,
      id: string,
      change: ActivityTypeChange,
      basedOn?: number
    ): Effect.Effect<ActivityType, NotRegistered | StaleVersion | WriteRefusal>
    /** Refused while templates or activities have it. */
    remove(
      actor: Actor,
      id: string,
      basedOn?: number
    ): Effect.Effect<void, NotRegistered | StaleVersion | WrongState | DatabaseUnavailable>
  }
>()("argusiq/layers/activities/ActivityTypes") {
  static readonly layer = Layer.effect(
    ActivityTypes,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)

      const select = (where: Fragment, rest: Fragment, sorted: Fragment) =>
        sql<TypeRow>`select item.*, ${sorted} as sorted from activity_types item where ${where} ${rest}`
      const one = Effect.fnUntraced(function* (id: string) {
        const [row] = yield* select(sql`item.id = ${id}::uuid`, sql.literal(""), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "activity type" })
        return toType(row)
      })

      const list = Effect.fn("ActivityTypes.list")((actor: Actor, query: ActivityTypeQuery) => {
        const filters = query.q === undefined || query.q === "" ? [] : [sql`item.name ilike ${containing(query.q)}`]
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return readPage(sql, query, filters, found, toType)
      })

      const get = Effect.fn("ActivityTypes.get")((actor: Actor, id: string) =>
        one(id).pipe(scoped(actor), orUnavailable)
      )

      const create = Effect.fn("ActivityTypes.create")((actor: Actor, type: NewActivityType) =>
        Effect.gen(function* () {
          const id = newId()
          yield* sql`insert into activity_types ${sql.insert({
            id,
            tenant_id: actor.tenantId,
            name: type.name,
            description: type.description ?? "",
            icon: type.icon ?? null,
            color: type.color ?? null,
            created_by: actor.userId ?? null,
            updated_by: actor.userId ?? null
          })}`
          return yield* Effect.catchTag(one(id), "NotRegistered", Effect.die)
        }).pipe(scoped(actor), orRefusal)
      )

      const change = Effect.fn("ActivityTypes.change")(
        (actor: Actor, id: string, change: ActivityTypeChange, basedOn?: number) =>
          Effect.gen(function* () {
            yield* lockRow(sql, "activity_types", "activity type", id, basedOn)
            yield* updateRow(sql, "activity_types", actor, id, { ...change })
            return yield* one(id)
          }).pipe(scoped(actor), orRefusal)
      )

      const remove = Effect.fn("ActivityTypes.remove")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lockRow(sql, "activity_types", "activity type", id, basedOn)
          const [used] = yield* sql<{ templates: number; activities: number }>`
            select (select count(*)::int from activity_templates where activity_type_id = ${id}::uuid) as templates,
              (select count(*)::int from activities where activity_type_id = ${id}::uuid) as activities`
          if (used !== undefined && used.templates + used.activities > 0) {
            const message = `${used.templates} templates and ${used.activities} activities have this type: remove them first.`
            return yield* new WrongState({ message })
          }
          yield* sql`delete from activity_types where id = ${id}::uuid`
        }).pipe(scoped(actor), orUnavailable)
      )

      return ActivityTypes.of({ list, get, create, change, remove })
    })
  )
}
