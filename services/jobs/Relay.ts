/**
 * The relay: events from the table they were written into with what they tell of, onto the bus, in their order.
 * @module
 */
import { type SystemEvent, eventRecord } from "@argusiq/domain/system-event.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { flushed } from "@argusiq/layers/bus/consumer/Offsets.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { uuids } from "@argusiq/layers/telemetry/columns.ts"
import { Effect, Metric } from "effect"
import { Failpoints } from "./Failpoints.ts"

const MOST_AT_ONCE = 500
/** Of a payload as text. A larger one is left out, which the event says: it must not hold up the others. */
const MAX_PAYLOAD_BYTES = 262_144

const relayed = Metric.withAttributes(Metric.counter("argusiq_events_relayed_total", { incremental: true }), {
  service: "jobs"
})

interface EventRow extends Omit<SystemEvent, "alarmId" | "occurredAt" | "ruleId"> {
  readonly occurredAt: bigint
  readonly ruleId: NonNullable<SystemEvent["ruleId"]> | null
  readonly alarmId: string | null
  readonly traceparent: string | null
}

const eventOf = ({ alarmId, occurredAt, ruleId, ...row }: Omit<EventRow, "traceparent">): SystemEvent => ({
  ...row,
  occurredAt: Number(occurredAt),
  ...(ruleId !== null && { ruleId }),
  ...(alarmId !== null && { alarmId })
})

/**
 * Publishes what waits, and answers how many that were. A row may have been committed without waiting for the disk: it is
 * flushed before anybody hears of it. Whoever ends between publishing and marking publishes twice, under the same id.
 */
export const relayEvents = Effect.gen(function* () {
  const bus = yield* Bus
  const sql = yield* PipelineSql
  const reach = yield* Failpoints
  let count = 0
  while (true) {
    const rows = yield* sql<EventRow>`
      select id, tenant_id as "tenantId", entity_type as "entityType", entity_id as "entityId",
        (extract(epoch from occurred_at) * 1000000)::bigint as "occurredAt", event_type as "eventType", severity,
        rule_id as "ruleId", alarm_id as "alarmId", traceparent,
        case when octet_length(payload::text) <= ${MAX_PAYLOAD_BYTES} then payload
          else jsonb_build_object('omittedBytes', octet_length(payload::text)) end as payload
      from system_events where published_at is null order by sequence limit ${MOST_AT_ONCE}`
    if (rows.length === 0) return count
    reach("read")
    yield* flushed(sql)
    reach("flushed")
    yield* bus.publish(rows.map(({ traceparent, ...row }) => eventRecord(eventOf(row), traceparent ?? undefined)))
    reach("published")
    yield* sql`update system_events set published_at = clock_timestamp()
      where id = any(${uuids(rows.map(({ id }) => id))})`
    reach("marked")
    yield* Metric.update(relayed, rows.length)
    count += rows.length
    if (rows.length < MOST_AT_ONCE) return count
  }
})
