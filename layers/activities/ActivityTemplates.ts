/**
 * The activity templates of an organization.
 * @module
 */
import { type AssignedRole } from "@argusiq/domain/activity/activity.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import {
  type ActivityTemplate,
  type ActivityTemplateChange,
  type ActivityTemplateQuery,
  type NewActivityTemplate
} from "@argusiq/domain/http/activity-templates.ts"
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
import { refuseStranger, refuseUnknownType } from "./references.ts"

interface Row {
  readonly id: string
  readonly tenant_id: TenantId
  readonly activity_type_id: string
  readonly name: string
  readonly description: string
  readonly trigger_event_type: ActivityTemplate["triggerEventType"]
  readonly filter: ActivityTemplate["filter"]
  readonly priority: number | null
  readonly assigned_role: AssignedRole | null
  readonly assigned_user_id: string | null
  readonly due_in_hours: number | null
  readonly checklist: ActivityTemplate["checklist"]
  readonly custom_attributes: ActivityTemplate["customAttributes"]
  readonly is_active: boolean
  readonly created_at: Date
  readonly updated_at: Date
  readonly version: number
  readonly sorted: string
}
const toTemplate = (row: Row): ActivityTemplate => ({
  id: row.id,
  organizationId: row.tenant_id,
  activityTypeId: row.activity_type_id,
  name: row.name,
  description: row.description,
  triggerEventType: row.trigger_event_type,
  filter: row.filter,
  priority: row.priority,
  assignedRole: row.assigned_role,
  assignedUserId: row.assigned_user_id,
  dueInHours: row.due_in_hours,
  checklist: row.checklist,
  customAttributes: row.custom_attributes,
  isActive: row.is_active,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
  version: row.version
})

export class ActivityTemplates extends Context.Service<
  ActivityTemplates,
  {
    list(
      actor: Actor,
      query: ActivityTemplateQuery
    ): Effect.Effect<Page<ActivityTemplate>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<ActivityTemplate, NotRegistered | DatabaseUnavailable>
    create(actor: Actor, template: NewActivityTemplate): Effect.Effect<ActivityTemplate, WriteRefusal>
    /** `basedOn`: the version that must still be the present one. */
    change(
      actor: Actor,
      id: string,
      change: ActivityTemplateChange,
      basedOn?: number
    ): Effect.Effect<ActivityTemplate, NotRegistered | StaleVersion | WriteRefusal>
    /** Refused while schedules use it. Its activities stay. */
    remove(
      actor: Actor,
      id: string,
      basedOn?: number
    ): Effect.Effect<void, NotRegistered | StaleVersion | WrongState | DatabaseUnavailable>
  }
>()("argusiq/layers/activities/ActivityTemplates") {
  static readonly layer = Layer.effect(
    ActivityTemplates,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)

      const select = (where: Fragment, rest: Fragment, sorted: Fragment) =>
        sql<Row>`select item.*, ${sorted} as sorted from activity_templates item where ${where} ${rest}`
      const one = Effect.fnUntraced(function* (id: string) {
        const [row] = yield* select(sql`item.id = ${id}::uuid`, sql.literal(""), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "activity template" })
        return toTemplate(row)
      })
      const valuesOf = (change: ActivityTemplateChange) => ({
        ...(change.name !== undefined && { name: change.name }),
        ...(change.activityTypeId !== undefined && { activity_type_id: change.activityTypeId }),
        ...(change.triggerEventType !== undefined && { trigger_event_type: change.triggerEventType }),
        ...(change.description !== undefined && { description: change.description }),
        ...(change.filter !== undefined && { filter: sql.json(change.filter) }),
        ...(change.priority !== undefined && { priority: change.priority }),
        ...(change.assignedRole !== undefined && { assigned_role: change.assignedRole }),
        ...(change.assignedUserId !== undefined && { assigned_user_id: change.assignedUserId }),
        ...(change.dueInHours !== undefined && { due_in_hours: change.dueInHours }),
        ...(change.checklist !== undefined && { checklist: sql.json(change.checklist) }),
        ...(change.customAttributes !== undefined && { custom_attributes: sql.json(change.customAttributes) }),
        ...(change.isActive !== undefined && { is_active: change.isActive })
      })
      const refuseUnknown = (change: ActivityTemplateChange) =>
        Effect.andThen(refuseUnknownType(sql, change.activityTypeId), refuseStranger(sql, change.assignedUserId))

      const list = Effect.fn("ActivityTemplates.list")((actor: Actor, query: ActivityTemplateQuery) => {
        const { activityTypeId, isActive, q, triggerEventType } = query
        const filters = [
          ...(q === undefined || q === "" ? [] : [sql`item.name ilike ${containing(q)}`]),
          ...(triggerEventType === undefined ? [] : [sql`item.trigger_event_type = ${triggerEventType}`]),
          ...(activityTypeId === undefined ? [] : [sql`item.activity_type_id = ${activityTypeId}::uuid`]),
          ...(isActive === undefined ? [] : [sql`item.is_active = ${isActive === "true"}`])
        ]
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return readPage(sql, query, filters, found, toTemplate)
      })

      const get = Effect.fn("ActivityTemplates.get")((actor: Actor, id: string) =>
        one(id).pipe(scoped(actor), orUnavailable)
      )

      const create = Effect.fn("ActivityTemplates.create")((actor: Actor, template: NewActivityTemplate) =>
        Effect.gen(function* () {
          const id = newId()
          yield* refuseUnknown(template)
          yield* sql`insert into activity_templates ${sql.insert({
            id,
            tenant_id: actor.tenantId,
            ...valuesOf(template),
            created_by: actor.userId ?? null,
            updated_by: actor.userId ?? null
          })}`
          return yield* Effect.catchTag(one(id), "NotRegistered", Effect.die)
        }).pipe(scoped(actor), orRefusal)
      )

      const change = Effect.fn("ActivityTemplates.change")(
        (actor: Actor, id: string, change: ActivityTemplateChange, basedOn?: number) =>
          Effect.gen(function* () {
            yield* lockRow(sql, "activity_templates", "activity template", id, basedOn)
            yield* refuseUnknown(change)
            yield* updateRow(sql, "activity_templates", actor, id, valuesOf(change))
            return yield* one(id)
          }).pipe(scoped(actor), orRefusal)
      )

      const remove = Effect.fn("ActivityTemplates.remove")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lockRow(sql, "activity_templates", "activity template", id, basedOn)
          const uses = yield* sql<{ name: string }>`
            select name from schedules where template_id = ${id}::uuid order by name limit 5`
          if (uses.length > 0) {
            const names = uses.map(({ name }) => `"${name}"`).join(", ")
            return yield* new WrongState({ message: `Schedules use this template: remove them first (${names}).` })
          }
          yield* sql`delete from activity_templates where id = ${id}::uuid`
        }).pipe(scoped(actor), orUnavailable)
      )

      return ActivityTemplates.of({ list, get, create, change, remove })
    })
  )
}
