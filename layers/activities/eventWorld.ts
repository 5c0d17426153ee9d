/**
 * What the decision on a batch of events has to know, read and locked in its transaction.
 * @module
 */
import {
  type AssignedRole,
  type ChecklistItem,
  type Template,
  TemplateFilter
} from "@argusiq/domain/activity/activity.ts"
import { type OpenActivity, pairOf, type World } from "@argusiq/domain/activity/decide.ts"
import { namedTemplates } from "@argusiq/domain/activity/matching.ts"
import { type SystemEvent } from "@argusiq/domain/system-event.ts"
import { Effect, Option, Schema } from "effect"
import { type SqlClient } from "effect/sql"
import { uuids } from "../telemetry/columns.ts"

type Sql = SqlClient.SqlClient

export interface TemplateRow {
  readonly id: string
  readonly tenant_id: string
  readonly activity_type_id: string
  readonly name: string
  readonly description: string
  readonly trigger_event_type: string
  readonly filter: unknown
  readonly priority: number | null
  readonly assigned_role: AssignedRole | null
  readonly assigned_user_id: string | null
  readonly due_in_hours: number | null
  readonly checklist: ReadonlyArray<ChecklistItem>
  readonly custom_attributes: Schema.JsonObject
}

const decodeFilter = Schema.decodeUnknownOption(TemplateFilter)

/** A filter that this release cannot read lets nothing through. */
export const toTemplate = (row: TemplateRow): Template => ({
  id: row.id,
  tenantId: row.tenant_id,
  activityTypeId: row.activity_type_id,
  name: row.name,
  description: row.description,
  trigger: row.trigger_event_type,
  filter: Option.getOrElse(decodeFilter(row.filter), () => ({ severities: [] })),
  priority: row.priority,
  assignedRole: row.assigned_role,
  assignedUserId: row.assigned_user_id,
  dueInHours: row.due_in_hours,
  checklist: row.checklist,
  customAttributes: row.custom_attributes
})

interface OpenRow {
  readonly id: string
  readonly template_id: string | null
  readonly target_id: string | null
  readonly untouched: boolean
  readonly events: number
  readonly alarms: ReadonlyArray<string>
  readonly alarm_events: number
}

const toOpen = (row: OpenRow): OpenActivity => ({
  id: row.id,
  templateId: row.template_id,
  targetId: row.target_id,
  alarmIds: new Set(row.alarms),
  isOfAlarmsOnly: row.events > 0 && row.alarm_events === row.events,
  isUntouched: row.untouched
})

const distinct = (values: ReadonlyArray<string>) => uuids([...new Set(values)])

/** For `decide`. The open activities that it may join or cancel stay as they are until the transaction ends. */
export const readWorld = Effect.fnUntraced(function* (sql: Sql, events: ReadonlyArray<SystemEvent>) {
  const tenants = distinct(events.map(({ tenantId }) => tenantId))
  const named = distinct(events.flatMap((event) => namedTemplates(event) ?? []))
  const types = [...new Set(events.map(({ eventType }) => eventType))]
  const rows = yield* sql<TemplateRow>`
    select id, tenant_id, activity_type_id, name, description, trigger_event_type, filter, priority, assigned_role,
      assigned_user_id, due_in_hours, checklist, custom_attributes
    from activity_templates
    where tenant_id = any(${tenants}) and is_active
      and (trigger_event_type = any(${types}::text[]) or id = any(${named}))`
  const templates = rows.map(toTemplate)
  const retracted = events.flatMap(({ alarmId, eventType }) =>
    eventType === "THRESHOLD_RETRACTED" && alarmId !== undefined ? [alarmId] : []
  )
  const open = yield* sql<OpenRow>`
    select item.id, item.template_id, item.target_id, item.state = 'pending' and item.version = 1 as untouched,
      (select count(*)::int from activity_events event where event.activity_id = item.id) as events,
      (select count(*)::int from activity_events event where event.activity_id = item.id and event.alarm_id is not null)
        as alarm_events,
      array(select distinct event.alarm_id::text from activity_events event
        where event.activity_id = item.id and event.alarm_id is not null and not event.retracted) as alarms
    from activities item
    where item.tenant_id = any(${tenants}) and item.state in ('pending', 'in_progress')
      and (item.template_id = any(${distinct(templates.map(({ id }) => id))})
          and item.target_id = any(${distinct(events.map(({ entityId }) => entityId))})
        or item.id in (select activity_id from activity_events where alarm_id = any(${distinct(retracted)})))
    order by item.sequence for update of item`
  const dealtWith = yield* sql<{ event_id: string; template_id: string }>`
    select event_id, template_id from activity_events where event_id = any(${distinct(events.map(({ id }) => id))})`
  const assetTypes = templates.some(({ filter }) => filter.assetTypeIds !== undefined)
    ? yield* assetTypesOf(sql, events)
    : new Map<string, string>()
  return {
    templates,
    entityOf: ({ entityId }) => ({ assetTypeId: assetTypes.get(entityId) }),
    open: open.map(toOpen),
    dealtWith: new Set(dealtWith.map((row) => pairOf(row.event_id, row.template_id)))
  } satisfies World
})

const assetTypesOf = Effect.fnUntraced(function* (sql: Sql, events: ReadonlyArray<SystemEvent>) {
  const assets = distinct(events.flatMap(({ entityId, entityType }) => (entityType === "asset" ? [entityId] : [])))
  const rows = yield* sql<{ id: string; asset_type_id: string }>`
    select id, asset_type_id from assets where id = any(${assets})`
  return new Map(rows.map((row) => [row.id, row.asset_type_id]))
})
