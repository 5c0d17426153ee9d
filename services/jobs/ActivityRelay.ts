/**
 * The relay of activities: from their table onto the bus, in their order.
 * @module
 */
import { type ActivityCreated, activityRecord } from "@argusiq/domain/activity/activity.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { flushed } from "@argusiq/layers/bus/consumer/Offsets.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { uuids } from "@argusiq/layers/telemetry/columns.ts"
import { Effect, Metric } from "effect"
import { Failpoints } from "./Failpoints.ts"

const MOST_AT_ONCE = 500

const relayed = Metric.withAttributes(Metric.counter("argusiq_activities_relayed_total", { incremental: true }), {
  service: "jobs"
})

interface ActivityRow extends Omit<ActivityCreated, "createdAt" | "dueAt"> {
  readonly createdAt: bigint
  readonly dueAt: bigint | null
}

/**
 * Publishes what waits, and answers how many that were. A row may have been committed without waiting for the disk: it is
 * flushed before anybody hears of it. Whoever ends between publishing and marking publishes twice, under the same id.
 */
export const relayActivities = Effect.gen(function* () {
  const bus = yield* Bus
  const sql = yield* PipelineSql
  const reach = yield* Failpoints
  let count = 0
  while (true) {
    const rows = yield* sql<ActivityRow>`
      select id as "activityId", tenant_id as "tenantId", activity_type_id as "activityTypeId", template_id as "templateId",
        schedule_id as "scheduleId", event_id as "eventId", target_type as "targetType", target_id as "targetId", name,
        priority, assigned_role as "assignedRole", assigned_user_id as "assignedUserId",
        (extract(epoch from due_at) * 1000000)::bigint as "dueAt",
        (extract(epoch from created_at) * 1000000)::bigint as "createdAt"
      from activities where published_at is null order by sequence limit ${MOST_AT_ONCE}`
    if (rows.length === 0) return count
    yield* flushed(sql)
    const records = rows.map((row) =>
      activityRecord({
        ...row,
        dueAt: row.dueAt === null ? null : Number(row.dueAt),
        createdAt: Number(row.createdAt)
      })
    )
    yield* bus.publish(records)
    reach("relayed")
    yield* sql`update activities set published_at = clock_timestamp()
      where id = any(${uuids(rows.map(({ activityId }) => activityId))})`
    yield* Metric.update(relayed, rows.length)
    count += rows.length
    if (rows.length < MOST_AT_ONCE) return count
  }
})
