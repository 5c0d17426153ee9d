/**
 * What a list of activities is asked for, as conditions on the alias `item`.
 * @module
 */
import { type ActivityQuery } from "@argusiq/domain/http/activities.ts"
import { type SqlClient } from "effect/sql"
import { type Fragment } from "effect/sql/Statement"
import { containing } from "../registry/paging.ts"

const given = <A>(value: A | undefined, filter: (value: A) => Fragment): ReadonlyArray<Fragment> =>
  value === undefined ? [] : [filter(value)]

export const activityFilters = (sql: SqlClient.SqlClient, query: ActivityQuery): ReadonlyArray<Fragment> => {
  return [
    ...given(query.q === "" ? undefined : query.q, (q) => sql`item.name ilike ${containing(q)}`),
    ...given(query.state, (state) =>
      state === "open" ? sql`item.state in ('pending', 'in_progress')` : sql`item.state = ${state}`
    ),
    ...given(query.activityTypeId, (id) => sql`item.activity_type_id = ${id}::uuid`),
    ...given(query.templateId, (id) => sql`item.template_id = ${id}::uuid`),
    ...given(query.scheduleId, (id) => sql`item.schedule_id = ${id}::uuid`),
    ...given(query.targetId, (id) => sql`item.target_id = ${id}::uuid`),
    ...given(query.assignedRole, (role) => sql`item.assigned_role = ${role}`),
    ...given(query.assignedUserId, (id) => sql`item.assigned_user_id = ${id}::uuid`),
    ...given(query.priority, (priority) => sql`item.priority = ${priority}`),
    ...given(
      query.dueBefore,
      (at) => sql`item.due_at < timestamptz 'epoch' + ${String(at)}::bigint * interval '1 microsecond'`
    ),
    ...given(
      query.eventId,
      (id) => sql`item.id in (select activity_id from activity_events where event_id = ${id}::uuid)`
    ),
    ...given(
      query.alarmId,
      (id) => sql`item.id in (select activity_id from activity_events where alarm_id = ${id}::uuid)`
    )
  ]
}
