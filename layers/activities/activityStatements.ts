/**
 * Activities, their items and the events that they stand for, as rows. What is there already stays as it is.
 * @module
 */
import { type NewActivity } from "@argusiq/domain/activity/activity.ts"
import { type Joined } from "@argusiq/domain/activity/decide.ts"
import { itemId } from "@argusiq/domain/activity/from-template.ts"
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"

type Sql = SqlClient.SqlClient

const asTime = (column: string) => `timestamptz 'epoch' + ${column} * interval '1 microsecond'`

const activitiesStatement = `
insert into activities (id, tenant_id, activity_type_id, template_id, schedule_id, event_id, alarm_id, target_type, target_id,
  name, description, priority, assigned_role, assigned_user_id, due_at, custom_attributes, created_by, updated_by)
select id, tenant_id, activity_type_id, template_id, schedule_id, event_id, alarm_id, target_type, target_id, name,
  description, priority, assigned_role, assigned_user_id, ${asTime("due_at")}, custom_attributes, created_by, created_by
from rows from (jsonb_to_recordset($1::jsonb) as (id uuid, tenant_id uuid, activity_type_id uuid, template_id uuid,
  schedule_id uuid, event_id uuid, alarm_id uuid, target_type text, target_id uuid, name text, description text, priority int,
  assigned_role text, assigned_user_id uuid, due_at bigint, custom_attributes jsonb, created_by uuid))
  with ordinality as given (id, tenant_id, activity_type_id, template_id, schedule_id, event_id, alarm_id, target_type,
    target_id, name, description, priority, assigned_role, assigned_user_id, due_at, custom_attributes, created_by, place)
order by place
on conflict (id) do nothing
returning id::text`

const itemsStatement = `
insert into activity_items (id, tenant_id, activity_id, position, item, required)
select id, tenant_id, activity_id, position, item, required
from jsonb_to_recordset($1::jsonb) as given (id uuid, tenant_id uuid, activity_id uuid, position int, item text,
  required boolean)
on conflict do nothing`

const eventsStatement = `
insert into activity_events (event_id, template_id, tenant_id, activity_id, event_type, severity, alarm_id, occurred_at)
select event_id, template_id, tenant_id, activity_id, event_type, severity, alarm_id, ${asTime("occurred_at")}
from jsonb_to_recordset($1::jsonb) as given (event_id uuid, template_id uuid, tenant_id uuid, activity_id uuid,
  event_type text, severity text, alarm_id uuid, occurred_at bigint)
on conflict do nothing`

const rowOf = (activity: NewActivity, userId: string | null) => ({
  id: activity.id,
  tenant_id: activity.tenantId,
  activity_type_id: activity.activityTypeId,
  template_id: activity.templateId,
  schedule_id: activity.scheduleId,
  event_id: activity.eventId,
  alarm_id: activity.alarmId,
  target_type: activity.target?.type ?? null,
  target_id: activity.target?.id ?? null,
  name: activity.name,
  description: activity.description,
  priority: activity.priority,
  assigned_role: activity.assignedRole,
  assigned_user_id: activity.assignedUserId,
  due_at: activity.dueAt,
  custom_attributes: activity.customAttributes,
  created_by: userId
})

const itemsOf = ({ checklist, id, tenantId }: NewActivity) =>
  checklist.map(({ item, required }, position) => ({
    id: itemId(id, position),
    tenant_id: tenantId,
    activity_id: id,
    position,
    item,
    required
  }))

/** In the transaction that the fiber is in. Answers the ids of those that were not there before. `userId`: who made them by hand. */
export const insertActivities = Effect.fnUntraced(function* (
  sql: Sql,
  activities: ReadonlyArray<NewActivity>,
  userId: string | null = null
) {
  if (activities.length === 0) return new Set<string>()
  const rows = JSON.stringify(activities.map((activity) => rowOf(activity, userId)))
  const inserted = yield* sql.unsafe<{ id: string }>(activitiesStatement, [rows])
  const ids = new Set(inserted.map(({ id }) => id))
  const items = activities.filter(({ id }) => ids.has(id)).flatMap(itemsOf)
  if (items.length > 0) yield* sql.unsafe(itemsStatement, [JSON.stringify(items)])
  return ids
})

/** Notes which events an activity stands for. */
export const insertActivityEvents = (sql: Sql, joined: ReadonlyArray<Joined>) =>
  sql.unsafe(eventsStatement, [
    JSON.stringify(
      joined.map(({ activityId, event, templateId }) => ({
        event_id: event.id,
        template_id: templateId,
        tenant_id: event.tenantId,
        activity_id: activityId,
        event_type: event.eventType,
        severity: event.severity,
        alarm_id: event.alarmId ?? null,
        occurred_at: event.occurredAt
      }))
    )
  ])
