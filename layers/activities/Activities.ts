/**
 * The activities of an organization, as people work on them.
 * @module
 */
import { type NewActivity } from "@argusiq/domain/activity/activity.ts"
import { activityByHand, USUAL_PRIORITY } from "@argusiq/domain/activity/from-template.ts"
import {
  advance,
  isOpen,
  type RequiredItemsOpen,
  type Step,
  WrongActivityState
} from "@argusiq/domain/activity/progress.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import {
  type Activity,
  type ActivityChange,
  type ActivityEvent,
  type ActivityQuery,
  type FromTemplate,
  type ItemChange,
  type NewActivityRequest
} from "@argusiq/domain/http/activities.ts"
import { assignmentNotice } from "@argusiq/domain/notification/notification.ts"
import { Clock, Context, Effect, Layer } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { insertNotifications } from "../notifications/noticeStatements.ts"
import { type Actor } from "../registry/Devices.ts"
import { newId } from "../registry/newId.ts"
import { type Page, readPage } from "../registry/paging.ts"
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
import { activityFilters } from "./activityFilters.ts"
import { type ActivityRow, selectActivities, toActivity } from "./activityRow.ts"
import { insertActivities } from "./activityStatements.ts"
import { type TemplateRow, toTemplate } from "./eventWorld.ts"
import { refuseStranger, refuseUnknownType, targetOf } from "./references.ts"

type ChangeRefusal = NotRegistered | StaleVersion | WrongState | WriteRefusal

export class Activities extends Context.Service<
  Activities,
  {
    list(actor: Actor, query: ActivityQuery): Effect.Effect<Page<Activity>, BadCursor | DatabaseUnavailable>
    /** Of an asset of the organization, the newest first. */
    maintenanceOf(
      actor: Actor,
      assetId: string,
      query: ActivityQuery
    ): Effect.Effect<Page<Activity>, NotRegistered | BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<Activity, NotRegistered | DatabaseUnavailable>
    /** The newest 500. */
    events(actor: Actor, id: string): Effect.Effect<ReadonlyArray<ActivityEvent>, NotRegistered | DatabaseUnavailable>
    create(actor: Actor, activity: NewActivityRequest): Effect.Effect<Activity, WriteRefusal>
    createFromTemplate(
      actor: Actor,
      templateId: string,
      request: FromTemplate
    ): Effect.Effect<Activity, NotRegistered | WriteRefusal>
    /** Of open ones. `basedOn`: the version that must still be the present one. */
    change(actor: Actor, id: string, change: ActivityChange, basedOn?: number): Effect.Effect<Activity, ChangeRefusal>
    changeItem(
      actor: Actor,
      at: { readonly id: string; readonly itemId: string },
      change: ItemChange,
      basedOn?: number
    ): Effect.Effect<Activity, ChangeRefusal>
    step(
      actor: Actor,
      id: string,
      step: Step,
      options: { readonly note?: string | undefined; readonly basedOn?: number | undefined }
    ): Effect.Effect<Activity, ChangeRefusal>
    remove(
      actor: Actor,
      id: string,
      basedOn?: number
    ): Effect.Effect<void, NotRegistered | StaleVersion | DatabaseUnavailable>
  }
>()("argusiq/layers/activities/Activities") {
  static readonly layer = Layer.effect(
    Activities,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)

      const one = Effect.fnUntraced(function* (id: string) {
        const [row] = yield* selectActivities(sql, sql`item.id = ${id}::uuid`, sql.literal(""), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "activity" })
        return toActivity(row)
      })
      const locked = Effect.fnUntraced(function* (id: string, basedOn: number | undefined) {
        yield* lockRow(sql, "activities", "activity", id, basedOn)
        return yield* one(id)
      })

      const list = Effect.fn("Activities.list")((actor: Actor, query: ActivityQuery) => {
        const page = { ...query, sort: query.sort ?? "-createdAt" }
        const found = (...[where, rest, sorted]: [where: Fragment, rest: Fragment, sorted: Fragment]) =>
          selectActivities(sql, where, rest, sorted).pipe(scoped(actor), orUnavailable)
        return readPage<ActivityRow, Activity, DatabaseUnavailable>(
          sql,
          page,
          activityFilters(sql, query),
          found,
          toActivity
        )
      })

      const maintenanceOf = Effect.fn("Activities.maintenanceOf")(function* (
        actor: Actor,
        assetId: string,
        query: ActivityQuery
      ) {
        const assets = yield* sql`select from assets where id = ${assetId}::uuid`.pipe(scoped(actor), orUnavailable)
        if (assets.length === 0) return yield* new NotRegistered({ what: "asset" })
        return yield* list(actor, { ...query, targetId: assetId })
      })

      const get = Effect.fn("Activities.get")((actor: Actor, id: string) => one(id).pipe(scoped(actor), orUnavailable))

      const events = Effect.fn("Activities.events")((actor: Actor, id: string) =>
        Effect.gen(function* () {
          yield* one(id)
          const rows = yield* sql<{
            event_id: string
            event_type: string
            severity: ActivityEvent["severity"]
            alarm_id: string | null
            occurred_at: Date
            retracted: boolean
          }>`select event_id, event_type, severity, alarm_id, occurred_at, retracted from activity_events
            where activity_id = ${id}::uuid order by occurred_at desc, event_id limit 500`
          return rows.map((row): ActivityEvent => ({
            eventId: row.event_id,
            eventType: row.event_type,
            severity: row.severity,
            alarmId: row.alarm_id,
            occurredAt: row.occurred_at.toISOString(),
            retracted: row.retracted
          }))
        }).pipe(scoped(actor), orUnavailable)
      )

      /** Told to those whom it is given to, unless that is whoever makes it. */
      const insert = Effect.fnUntraced(function* (actor: Actor, activity: NewActivity) {
        yield* insertActivities(sql, [activity], actor.userId ?? null)
        const notice = assignmentNotice(activity, "Made by hand")
        if (notice !== undefined && activity.assignedUserId !== actor.userId) yield* insertNotifications(sql, [notice])
        return yield* Effect.catchTag(one(activity.id), "NotRegistered", Effect.die)
      })

      const create = Effect.fn("Activities.create")((actor: Actor, request: NewActivityRequest) =>
        Effect.gen(function* () {
          yield* refuseUnknownType(sql, request.activityTypeId)
          yield* refuseStranger(sql, request.assignedUserId)
          return yield* insert(actor, {
            id: newId(),
            tenantId: actor.tenantId,
            activityTypeId: request.activityTypeId,
            templateId: null,
            scheduleId: null,
            eventId: null,
            alarmId: null,
            target: yield* targetOf(sql, request.targetId),
            name: request.name,
            description: request.description ?? "",
            priority: request.priority ?? USUAL_PRIORITY,
            assignedRole: request.assignedRole ?? null,
            assignedUserId: request.assignedUserId ?? null,
            dueAt: request.dueAt ?? null,
            checklist: request.checklist ?? [],
            customAttributes: request.customAttributes ?? {}
          })
        }).pipe(scoped(actor), orRefusal)
      )

      const createFromTemplate = Effect.fn("Activities.createFromTemplate")(
        (actor: Actor, templateId: string, { overrides = {}, targetId }: FromTemplate) =>
          Effect.gen(function* () {
            const [row] = yield* sql<TemplateRow>`select * from activity_templates where id = ${templateId}::uuid`
            if (row === undefined) return yield* new NotRegistered({ what: "activity template" })
            yield* refuseStranger(sql, overrides.assignedUserId, "overrides.assignedUserId")
            const target = yield* targetOf(sql, targetId)
            const at = (yield* Clock.currentTimeMillis) * 1_000
            return yield* insert(actor, {
              ...activityByHand(toTemplate(row), { id: newId(), target, at }),
              ...overrides
            })
          }).pipe(scoped(actor), orRefusal)
      )

      const change = Effect.fn("Activities.change")(
        (actor: Actor, id: string, change: ActivityChange, basedOn?: number) =>
          Effect.gen(function* () {
            yield* refuseEnded(yield* locked(id, basedOn))
            yield* refuseStranger(sql, change.assignedUserId)
            const { dueAt } = change
            yield* updateRow(sql, "activities", actor, id, {
              ...(change.name !== undefined && { name: change.name }),
              ...(change.description !== undefined && { description: change.description }),
              ...(change.priority !== undefined && { priority: change.priority }),
              ...(change.assignedRole !== undefined && { assigned_role: change.assignedRole }),
              ...(change.assignedUserId !== undefined && { assigned_user_id: change.assignedUserId }),
              ...(dueAt !== undefined && { due_at: dueAt === null ? null : new Date(dueAt / 1_000) }),
              ...(change.customAttributes !== undefined && { custom_attributes: sql.json(change.customAttributes) })
            })
            return yield* one(id)
          }).pipe(scoped(actor), orRefusal)
      )

      const changeItem = Effect.fn("Activities.changeItem")(
        (
          actor: Actor,
          { id, itemId }: { readonly id: string; readonly itemId: string },
          { done, note }: ItemChange,
          basedOn?: number
        ) =>
          Effect.gen(function* () {
            const present = yield* locked(id, basedOn)
            const item = present.checklist.find((one) => one.id === itemId)
            if (item === undefined) return yield* new NotRegistered({ what: "checklist item" })
            yield* refuseEnded(present)
            if (done !== undefined && done !== (item.doneAt !== null)) {
              yield* sql`update activity_items set done_at = ${done ? sql.literal("now()") : sql.literal("null")},
                done_by = ${done ? (actor.userId ?? null) : null}::uuid where id = ${itemId}::uuid`
            }
            if (note !== undefined) yield* sql`update activity_items set note = ${note} where id = ${itemId}::uuid`
            yield* updateRow(sql, "activities", actor, id, {})
            return yield* one(id)
          }).pipe(scoped(actor), orRefusal)
      )

      const step = Effect.fn("Activities.step")(
        (
          actor: Actor,
          id: string,
          step: Step,
          { basedOn, note }: { readonly note?: string | undefined; readonly basedOn?: number | undefined }
        ) =>
          Effect.gen(function* () {
            const present = yield* locked(id, basedOn)
            const items = present.checklist.map(({ doneAt, item, required }) => ({
              item,
              required,
              done: doneAt !== null
            }))
            const state = yield* Effect.mapError(Effect.fromResult(advance(present.state, step, items)), toWrongState)
            const who = actor.userId ?? null
            const now = new Date(yield* Clock.currentTimeMillis)
            yield* updateRow(sql, "activities", actor, id, {
              state,
              ...(step === "start" ? { started_at: now, started_by: who } : { ended_at: now, ended_by: who }),
              ...(note !== undefined && { note })
            })
            return yield* one(id)
          }).pipe(scoped(actor), orRefusal)
      )

      const remove = Effect.fn("Activities.remove")((actor: Actor, id: string, basedOn?: number) =>
        Effect.gen(function* () {
          yield* lockRow(sql, "activities", "activity", id, basedOn)
          yield* sql`delete from activities where id = ${id}::uuid`
        }).pipe(scoped(actor), orUnavailable)
      )

      return Activities.of({
        list,
        maintenanceOf,
        get,
        events,
        create,
        createFromTemplate,
        change,
        changeItem,
        step,
        remove
      })
    })
  )
}

const words = { start: "begun", complete: "completed", cancel: "cancelled", change: "changed" } as const
const states = {
  pending: "pending",
  in_progress: "in progress",
  completed: "completed",
  cancelled: "cancelled"
} as const

const refuseEnded = ({ state }: Activity): Effect.Effect<void, WrongState> =>
  isOpen(state) ? Effect.void : Effect.fail(toWrongState(new WrongActivityState({ state, step: "change" })))

/** For the person who has asked for it. */
const toWrongState = (error: WrongActivityState | RequiredItemsOpen): WrongState => {
  if (error._tag === "WrongActivityState") {
    const hint = error.step === "complete" && error.state === "pending" ? " Start it first." : ""
    return new WrongState({
      message: `The activity is ${states[error.state]} and cannot be ${words[error.step]}.${hint}`
    })
  }
  const [first, ...others] = error.items
  const more = others.length === 0 ? "" : ` and ${others.length} more`
  return new WrongState({
    message: `Required items are not done: "${first}"${more}. Do them, or cancel the activity and say why.`
  })
}
