/**
 * Scheduled maintenance: makes the activities of schedules whose time has come. An occurrence is made once. Of those that
 * were missed while nobody looked, only the last one is made.
 * @module
 */
import { type Target } from "@argusiq/domain/activity/activity.ts"
import { activityForOccurrence } from "@argusiq/domain/activity/from-template.ts"
import { latestOccurrence, nextOccurrence, Recurrence } from "@argusiq/domain/activity/recurrence.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { assignmentNotice } from "@argusiq/domain/notification/notification.ts"
import { insertActivities } from "@argusiq/layers/activities/activityStatements.ts"
import { type TemplateRow, toTemplate } from "@argusiq/layers/activities/eventWorld.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { insertNotifications } from "@argusiq/layers/notifications/noticeStatements.ts"
import { Clock, Effect, Metric, Schema } from "effect"
import { Failpoints } from "./Failpoints.ts"

const made = Metric.withAttributes(Metric.counter("argusiq_scheduled_activities_total", { incremental: true }), {
  service: "jobs"
})

interface DueRow extends TemplateRow {
  readonly schedule_id: string
  readonly schedule_name: string
  readonly target_type: Target["type"] | null
  readonly target_id: string | null
  readonly every: number
  readonly unit: string
  readonly starts_on: string
  readonly ends_on: string | null
  readonly local_time: string
  readonly time_zone: string
  readonly due: bigint
  readonly template_active: boolean
}

const decodeRecurrence = Schema.decodeUnknownEffect(Recurrence)
const toTime = (micros: Instant | undefined) => (micros === undefined ? null : String(micros))

/** The schedule that is due first, locked; undefined: there is none. */
const takeDue = Effect.fnUntraced(function* (now: Instant) {
  const sql = yield* PipelineSql
  const [row] = yield* sql<DueRow>`
    select template.id, template.tenant_id, template.activity_type_id, template.name, template.description,
      template.trigger_event_type, template.filter, template.priority, template.assigned_role, template.assigned_user_id,
      template.due_in_hours, template.checklist, template.custom_attributes, template.is_active as template_active,
      schedule.id as schedule_id, schedule.name as schedule_name, schedule.target_type, schedule.target_id, schedule.every,
      schedule.unit, schedule.starts_on, schedule.ends_on, schedule.local_time, schedule.time_zone,
      (extract(epoch from schedule.next_due_at) * 1000000)::bigint as due
    from schedules schedule join activity_templates template on template.id = schedule.template_id
    where schedule.is_active and schedule.next_due_at <= timestamptz 'epoch' + ${String(now)}::bigint * interval '1 microsecond'
    order by schedule.next_due_at limit 1 for update of schedule skip locked`
  return row
})

/** In one transaction: the activity, its notification, and when the schedule is due next. */
const makeOccurrence = Effect.fnUntraced(function* (row: DueRow, now: Instant) {
  const sql = yield* PipelineSql
  const reach = yield* Failpoints
  const recurrence = yield* decodeRecurrence({
    every: row.every,
    unit: row.unit,
    startsOn: row.starts_on,
    endsOn: row.ends_on,
    localTime: row.local_time,
    timeZone: row.time_zone
  }).pipe(Effect.option)
  const at = (micros: Instant | undefined) =>
    sql`timestamptz 'epoch' + ${toTime(micros)}::bigint * interval '1 microsecond'`
  if (recurrence._tag === "None") {
    yield* Effect.logError(`Schedule ${row.schedule_id} cannot be read by this release: it is switched off`)
    yield* sql`update schedules set is_active = false where id = ${row.schedule_id}::uuid`
    return 0
  }
  const occurrence = latestOccurrence(recurrence.value, Number(row.due), now)
  let count = 0
  if (row.template_active) {
    const target =
      row.target_type === null || row.target_id === null ? null : { type: row.target_type, id: row.target_id }
    const schedule = { id: row.schedule_id, name: row.schedule_name, target }
    const activity = activityForOccurrence(toTemplate(row), schedule, occurrence)
    count = (yield* insertActivities(sql, [activity])).size
    const notice = assignmentNotice(activity, "Scheduled maintenance")
    if (notice !== undefined) yield* insertNotifications(sql, [notice])
  }
  yield* sql`update schedules set last_due_at = ${at(occurrence)},
      next_due_at = ${at(nextOccurrence(recurrence.value, now))}
    where id = ${row.schedule_id}::uuid`
  reach("scheduled")
  return count
})

/** Makes what is due at that instant, and answers how many activities that were. */
export const makeScheduledAt = Effect.fnUntraced(function* (now: Instant) {
  const sql = yield* PipelineSql
  let count = 0
  while (true) {
    const one = yield* sql.withTransaction(
      Effect.flatMap(takeDue(now), (row) => (row === undefined ? Effect.undefined : makeOccurrence(row, now)))
    )
    if (one === undefined) return count
    yield* Metric.update(made, one)
    count += one
  }
})

export const makeScheduled = Effect.flatMap(Clock.currentTimeMillis, (now) => makeScheduledAt(now * 1_000))
