/**
 * Events as they have become since they were told: by what people did to them, or by the end of their alarm.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import type { ToldPayload } from "@argusiq/domain/realtime/told.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { uuids } from "../telemetry/columns.ts"

export interface EventState {
  readonly tenantId: string
  readonly told: ToldPayload<"event:updated">
}

type Told = ToldPayload<"event:updated">

interface Row extends Pick<Told, "alarmId" | "entityId" | "entityType" | "payload" | "ruleId" | "severity" | "type"> {
  readonly id: string
  readonly tenant_id: string
  readonly occurred: bigint
  readonly acknowledged_at: Date | null
  readonly acknowledged_by: string | null
  readonly dismissed_at: Date | null
  readonly dismissed_by: string | null
  readonly comment_count: number
  readonly state: NonNullable<Told["alarm"]>["state"] | null
  readonly alarm_severity: NonNullable<Told["alarm"]>["severity"]
  readonly ended: bigint | null
  readonly alarm_acknowledged_at: Date | null
  readonly alarm_acknowledged_by: string | null
  readonly alarm_comment_count: number
}

const iso = (at: Date | null) => at?.toISOString() ?? null

const toState = (row: Row): EventState => ({
  tenantId: row.tenant_id,
  told: {
    eventId: row.id,
    type: row.type,
    entityType: row.entityType,
    entityId: row.entityId,
    severity: row.severity,
    occurredAt: isoFromMicros(Number(row.occurred)),
    ruleId: row.ruleId,
    alarmId: row.alarmId,
    payload: row.payload,
    acknowledgedAt: iso(row.acknowledged_at),
    acknowledgedBy: row.acknowledged_by,
    dismissedAt: iso(row.dismissed_at),
    dismissedBy: row.dismissed_by,
    commentCount: row.comment_count,
    alarm:
      row.state === null
        ? null
        : {
            state: row.state,
            severity: row.alarm_severity,
            endedAt: row.ended === null ? null : isoFromMicros(Number(row.ended)),
            acknowledgedAt: iso(row.alarm_acknowledged_at),
            acknowledgedBy: row.alarm_acknowledged_by,
            commentCount: row.alarm_comment_count
          }
  }
})

const statement = `
with chosen as (
  select id from system_events where id = any($1::uuid[])
  union
  select id from system_events where alarm_id = any($2::uuid[]) and event_type = 'THRESHOLD_BREACH'
)
select event.id, event.tenant_id, event.event_type as type, event.entity_type as "entityType", event.entity_id as "entityId",
  event.severity, (extract(epoch from event.occurred_at) * 1000000)::bigint as occurred, event.rule_id as "ruleId",
  event.alarm_id as "alarmId", event.payload, event.acknowledged_at, event.acknowledged_by, event.dismissed_at,
  event.dismissed_by, event.comment_count, alarm.state, alarm.severity as alarm_severity,
  (extract(epoch from alarm.ended_at) * 1000000)::bigint as ended, alarm.acknowledged_at as alarm_acknowledged_at,
  alarm.acknowledged_by as alarm_acknowledged_by, alarm.comment_count as alarm_comment_count
from chosen join system_events event using (id) left join alarms alarm on alarm.id = event.alarm_id
order by event.sequence`

/** The events, and those that told of the raising of the alarms, in the order in which they happened. */
export const eventStates = (
  sql: SqlClient.SqlClient,
  eventIds: ReadonlyArray<string>,
  alarmIds: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<EventState>, DatabaseUnavailable> =>
  sql.unsafe<Row>(statement, [uuids(eventIds), uuids(alarmIds)]).pipe(
    Effect.map((rows) => rows.map(toState)),
    Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
  )
