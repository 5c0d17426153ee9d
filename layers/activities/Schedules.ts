/**
 * The maintenance schedules of an organization.
 * @module
 */
import { nextOccurrence, type Recurrence } from "@argusiq/domain/activity/recurrence.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import {
  type MaintenanceSchedule,
  type NewSchedule,
  type ScheduleChange,
  type ScheduleQuery
} from "@argusiq/domain/http/schedules.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { Clock, Context, Effect, Layer } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Actor } from "../registry/Devices.ts"
import { newId } from "../registry/newId.ts"
import { containing, type Page, readPage } from "../registry/paging.ts"
import {
  type BadCursor,
  BadReference,
  NotRegistered,
  orRefusal,
  orUnavailable,
  type StaleVersion,
  type WriteRefusal
} from "../registry/refusals.ts"
import { lockRow, updateRow } from "../registry/rows.ts"
import { refuseUnknownTemplate, targetOf } from "./references.ts"

interface Row {
  readonly id: string
  readonly tenant_id: TenantId
  readonly name: string
  readonly template_id: string
  readonly target_type: "device" | "asset" | null
  readonly target_id: string | null
  readonly every: number
  readonly unit: Recurrence["unit"]
  readonly starts_on: string
  readonly ends_on: string | null
  readonly local_time: string
  readonly time_zone: string
  readonly is_active: boolean
  readonly next_due_at: Date | null
  readonly last_due_at: Date | null
  readonly created_at: Date
  readonly updated_at: Date
  readonly version: number
  readonly sorted: string
}
const toSchedule = (row: Row): MaintenanceSchedule => ({
  id: row.id,
  organizationId: row.tenant_id,
  name: row.name,
  templateId: row.template_id,
  targetType: row.target_type,
  targetId: row.target_id,
  every: row.every,
  unit: row.unit,
  startsOn: row.starts_on,
  endsOn: row.ends_on,
  localTime: row.local_time,
  timeZone: row.time_zone,
  isActive: row.is_active,
  nextDueAt: row.next_due_at?.toISOString() ?? null,
  lastDueAt: row.last_due_at?.toISOString() ?? null,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
  version: row.version
})

export class Schedules extends Context.Service<
  Schedules,
  {
    list(actor: Actor, query: ScheduleQuery): Effect.Effect<Page<MaintenanceSchedule>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<MaintenanceSchedule, NotRegistered | DatabaseUnavailable>
    /** Its first activity lies in the future, whenever it starts. */
    create(actor: Actor, schedule: NewSchedule): Effect.Effect<MaintenanceSchedule, WriteRefusal>
    /** It goes on with the next occurrence from now on. `basedOn`: the version that must still be the present one. */
    change(
      actor: Actor,
      id: string,
      change: ScheduleChange,
      basedOn?: number
    ): Effect.Effect<MaintenanceSchedule, NotRegistered | StaleVersion | WriteRefusal>
    remove(
      actor: Actor,
      id: string,
      basedOn?: number
    ): Effect.Effect<void, NotRegistered | StaleVersion | DatabaseUnavailable>
  }
>()("argusiq/layers/activities/Schedules") {
  static readonly layer = Layer.effect(
    Schedules,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)

      const select = (where: Fragment, rest: Fragment, sorted: Fragment) =>
        sql<Row>`select item.*, ${sorted} as sorted from schedules item where ${where} ${rest}`
      const one = Effect.fnUntraced(function* (id: string) {
        const [row] = yield* select(sql`item.id = ${id}::uuid`, sql.literal(""), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "schedule" })
        return toSchedule(row)
      })

      const recurrenceValues = Effect.fnUntraced(function* (recurrence: Recurrence) {
        const { endsOn, every, localTime, startsOn, timeZone, unit } = recurrence
        if (endsOn !== null && endsOn < startsOn) {
          return yield* new BadReference({ path: "endsOn", message: "must not be before startsOn" })
        }
        const next = nextOccurrence(recurrence, (yield* Clock.currentTimeMillis) * 1_000)
        return {
          every,
          unit,
          starts_on: startsOn,
          ends_on: endsOn,
          local_time: localTime,
          time_zone: timeZone,
          next_due_at: next === undefined ? null : new Date(next / 1_000)
        }
      })
      const targetValues = Effect.fnUntraced(function* (targetId: string | null | undefined) {
        if (targetId === undefined) return {}
        const target = yield* targetOf(sql, targetId)
        return { target_type: target?.type ?? null, target_id: target?.id ?? null }
      })

      const list = Effect.fn("Schedules.list")((actor: Actor, query: ScheduleQuery) => {
        const { isActive, q, targetId, templateId } = query
        const filters = [
          ...(q === undefined || q === "" ? [] : [sql`item.name ilike ${containing(q)}`]),
          ...(templateId === undefined ? [] : [sql`item.template_id = ${templateId}::uuid`]),
          ...(targetId === undefined ? [] : [sql`item.target_id = ${targetId}::uuid`]),
          ...(isActive === undefined ? [] : [sql`item.is_active = ${isActive === "true"}`])
        ]
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return readPage(sql, query, filters, found, toSchedule)
      })

      const get = Effect.fn("Schedules.get")((actor: Actor, id: string) => one(id).pipe(scoped(actor), orUnavailable))

      const create = Effect.fn("Schedules.create")((actor: Actor, schedule: NewSchedule) =>
        Effect.gen(function* () {
          const id = newId()
          yield* refuseUnknownTemplate(sql, schedule.templateId)
          yield* sql`insert into schedules ${sql.insert({
            id,
            tenant_id: actor.tenantId,
            name: schedule.name,
            template_id: schedule.templateId,
            ...(yield* targetValues(schedule.targetId ?? null)),
            ...(yield* recurrenceValues({ ...schedule, endsOn: schedule.endsOn ?? null })),
            is_active: schedule.isActive ?? true,
            created_by: actor.userId ?? null,
            updated_by: actor.userId ?? null
          })}`
          return yield* Effect.catchTag(one(id), "NotRegistered", Effect.die)
        }).pipe(scoped(actor), orRefusal)
      )

      const change = Effect.fn("Schedules.change")(
        (actor: Actor, id: string, change: ScheduleChange, basedOn?: number) =>
          Effect.gen(function* () {
            yield* lockRow(sql, "schedules", "schedule", id, basedOn)
            const present = yield* one(id)
            yield* refuseUnknownTemplate(sql, change.templateId)
            yield* updateRow(sql, "schedules", actor, id, {
              ...(change.name !== undefined && { name: change.name }),
              ...(change.templateId !== undefined && { template_id: change.templateId }),
              ...(change.isActive !== undefined && { is_active: change.isActive }),
              ...(yield* targetValues(change.targetId)),
              ...(yield* recurrenceValues({ ...present, ...change }))
            })
            return yield* one(id)
          }).pipe(scoped(actor), orRefusal)
      )

      const remove = Effect.fn("Schedules.remove")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lockRow(sql, "schedules", "schedule", id, basedOn)
          yield* sql`delete from schedules where id = ${id}::uuid`
        }).pipe(scoped(actor), orUnavailable)
      )

      return Schedules.of({ list, get, create, change, remove })
    })
  )
}
