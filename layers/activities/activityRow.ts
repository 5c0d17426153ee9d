/**
 * Rows of `activities` with their items, as REST shows them.
 * @module
 */
import { type ActivityState, type AssignedRole, type TargetType } from "@argusiq/domain/activity/activity.ts"
import { type Activity } from "@argusiq/domain/http/activities.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { type SqlClient } from "effect/sql"
import { type Fragment } from "effect/sql/Statement"

interface ItemRow {
  readonly id: string
  readonly item: string
  readonly required: boolean
  readonly note: string
  readonly done_at: string | null
  readonly done_by: string | null
}
export interface ActivityRow {
  readonly id: string
  readonly tenant_id: TenantId
  readonly activity_type_id: string
  readonly template_id: string | null
  readonly schedule_id: string | null
  readonly event_id: string | null
  readonly alarm_id: string | null
  readonly target_type: TargetType | null
  readonly target_id: string | null
  readonly name: string
  readonly description: string
  readonly priority: number
  readonly state: ActivityState
  readonly assigned_role: AssignedRole | null
  readonly assigned_user_id: string | null
  readonly due_at: Date | null
  readonly started_at: Date | null
  readonly started_by: string | null
  readonly ended_at: Date | null
  readonly ended_by: string | null
  readonly note: string
  readonly custom_attributes: Activity["customAttributes"]
  readonly created_at: Date
  readonly created_by: string | null
  readonly updated_at: Date
  readonly version: number
  readonly event_count: number
  readonly items: ReadonlyArray<ItemRow>
  readonly sorted: string
}

export const selectActivities = (sql: SqlClient.SqlClient, where: Fragment, rest: Fragment, sorted: Fragment) =>
  sql<ActivityRow>`
    select item.*, ${sorted} as sorted,
      (select count(*)::int from activity_events event where event.activity_id = item.id) as event_count,
      coalesce((select jsonb_agg(jsonb_build_object('id', entry.id, 'item', entry.item, 'required', entry.required,
          'note', entry.note, 'done_at', entry.done_at, 'done_by', entry.done_by) order by entry.position)
        from activity_items entry where entry.activity_id = item.id), '[]') as items
    from activities item where ${where} ${rest}`

const iso = (at: Date | null) => at?.toISOString() ?? null

export const toActivity = (row: ActivityRow): Activity => ({
  id: row.id,
  organizationId: row.tenant_id,
  activityTypeId: row.activity_type_id,
  templateId: row.template_id,
  scheduleId: row.schedule_id,
  eventId: row.event_id,
  alarmId: row.alarm_id,
  eventCount: row.event_count,
  targetType: row.target_type,
  targetId: row.target_id,
  name: row.name,
  description: row.description,
  priority: row.priority,
  state: row.state,
  assignedRole: row.assigned_role,
  assignedUserId: row.assigned_user_id,
  dueAt: iso(row.due_at),
  startedAt: iso(row.started_at),
  startedBy: row.started_by,
  endedAt: iso(row.ended_at),
  endedBy: row.ended_by,
  note: row.note,
  checklist: row.items.map(({ done_at, done_by, id, item, note, required }) => ({
    id,
    item,
    required,
    note,
    doneAt: done_at === null ? null : new Date(done_at).toISOString(),
    doneBy: done_by
  })),
  customAttributes: row.custom_attributes,
  createdAt: row.created_at.toISOString(),
  createdBy: row.created_by,
  updatedAt: row.updated_at.toISOString(),
  version: row.version
})
