/**
 * Alarms and the events that tell of them, as rows: written by whoever folds readings, in the transaction of the offset.
 * @module
 */
import { priorityOf } from "@argusiq/domain/activity/activity.ts"
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import type { AlarmEvent, AlarmRow, LiveAlarm, SaidAlarms } from "@argusiq/domain/rule/alarm-changes.ts"
import { messageOf } from "@argusiq/domain/rule/message.ts"
import type { RuleConfig } from "@argusiq/domain/rule/rule.ts"
import { alarmKey, type RuleAlarm } from "@argusiq/domain/rule/rule-fold.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { CurrentTraceparents } from "../tracing/MessageTracing.ts"
import { bigintegers, integers, texts, uuids } from "../telemetry/columns.ts"

type Sql = SqlClient.SqlClient

export type ConfigOf = (alarm: RuleAlarm) => RuleConfig | undefined

const toTime = (column: string) => `timestamptz 'epoch' + ${column} * interval '1 microsecond'`
const toMicros = (column: string) => `(extract(epoch from ${column}) * 1000000)::bigint`
const big = (at: Instant | undefined) => (at === undefined ? null : BigInt(at))

const saveAlarms = `
insert into alarms as present (id, tenant_id, rule_id, rule_version, entity_type, entity_id, state, severity, priority,
  started_at, first_started_at, ended_at, end_reason, settled, message, value, threshold, cause_reading_id)
select id, tenant_id, rule_id, rule_version, entity_type, entity_id, state, severity, priority,
  ${toTime("started_at")}, ${toTime("first_started_at")}, ${toTime("ended_at")}, end_reason, settled::boolean, message, value::jsonb, threshold::float8, cause
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::int[], $5::text[], $6::uuid[], $7::text[], $8::text[], $9::int[],
    $10::bigint[], $11::bigint[], $12::bigint[], $13::text[], $14::text[], $15::text[], $16::text[], $17::text[],
    $18::uuid[])
  as given (id, tenant_id, rule_id, rule_version, entity_type, entity_id, state, severity, priority, started_at,
    first_started_at, ended_at, end_reason, settled, message, value, threshold, cause)
order by id
on conflict (id) do update set
  (state, severity, priority, started_at, ended_at, end_reason, settled, message, value, threshold, cause_reading_id,
    updated_at) =
  (excluded.state, excluded.severity, excluded.priority, excluded.started_at, excluded.ended_at, excluded.end_reason,
    excluded.settled, excluded.message, excluded.value, excluded.threshold, excluded.cause_reading_id, clock_timestamp())`

const saveEvents = `
insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at, payload, rule_id,
  alarm_id, priority, message, traceparent)
select id, tenant_id, event_type, entity_type, entity_id, severity, ${toTime("occurred_at")}, payload::jsonb, rule_id,
  alarm_id, priority, message, traceparent
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::uuid[], $6::text[], $7::bigint[], $8::text[],
    $9::uuid[], $10::uuid[], $11::int[], $12::text[], $13::text[]) with ordinality
  as given (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at, payload, rule_id, alarm_id,
    priority, message, traceparent, place)
order by place
on conflict do nothing`

const stateOf = ({ alarm, retracted }: AlarmRow) =>
  retracted ? "retracted" : alarm.endedAt === undefined ? "active" : "cleared"

const isoOf = (at: Instant) => new Date(at / 1_000).toISOString()

const payloadOf = ({ alarm, alarmId, eventType }: AlarmEvent, config: RuleConfig | undefined, message: string) => ({
  alarmId,
  ruleId: alarm.ruleId,
  ruleVersion: alarm.ruleVersion,
  ...(config !== undefined && {
    ruleName: config.name,
    ...(config.metricKey !== undefined && { metricKey: config.metricKey }),
    ...(config.eventType !== undefined && { eventType: config.eventType }),
    ...(eventType === "THRESHOLD_BREACH" && { actions: config.actions })
  }),
  ...(alarm.value !== undefined && { value: alarm.value }),
  ...(alarm.threshold !== undefined && { threshold: alarm.threshold }),
  startedAt: isoOf(alarm.startedAt),
  ...(alarm.endedAt !== undefined && { endedAt: isoOf(alarm.endedAt), end: alarm.end }),
  message
})

const namesOf = (sql: Sql, entityType: "asset" | "device", ids: ReadonlyArray<string>) =>
  sql<{ id: string; name: string }>`select id, name from ${sql(entityType === "asset" ? "assets" : "devices")}
    where id = any(${uuids(ids)})`.pipe(Effect.map((rows) => new Map(rows.map(({ id, name }) => [id, name]))))

/**
 * In the transaction that the fiber is in. An alarm's row follows what is said of it, what people did to it stays; an event that
 * is there already stays as it is.
 * @param entityType of all of them
 */
export const saveAlarmChanges = Effect.fnUntraced(
  function* (
    sql: Sql,
    entityType: "asset" | "device",
    rows: ReadonlyArray<AlarmRow>,
    events: ReadonlyArray<AlarmEvent>,
    configOf: ConfigOf
  ) {
    if (rows.length === 0 && events.length === 0) return
    const names = yield* namesOf(sql, entityType, [...new Set([...rows, ...events].map(({ entityId }) => entityId))])
    const told = ({ alarm, entityId }: AlarmRow | AlarmEvent) => {
      const config = configOf(alarm)
      const message =
        config === undefined
          ? ""
          : messageOf({ type: entityType, name: names.get(entityId) ?? entityId }, config, alarm)
      return { config, message, priority: config?.priority ?? priorityOf(alarm.severity) }
    }
    const ofRows = rows.map(told)
    yield* sql.unsafe(saveAlarms, [
      uuids(rows.map(({ id }) => id)),
      uuids(rows.map(({ tenantId }) => tenantId)),
      uuids(rows.map(({ alarm }) => alarm.ruleId)),
      integers(rows.map(({ alarm }) => alarm.ruleVersion)),
      texts(rows.map(() => entityType)),
      uuids(rows.map(({ entityId }) => entityId)),
      texts(rows.map(stateOf)),
      texts(rows.map(({ alarm }) => alarm.severity)),
      integers(ofRows.map(({ priority }) => priority)),
      bigintegers(rows.map(({ alarm }) => BigInt(alarm.startedAt))),
      bigintegers(rows.map(({ firstStartedAt }) => BigInt(firstStartedAt))),
      bigintegers(rows.map(({ alarm }) => big(alarm.endedAt))),
      texts(rows.map(({ alarm }) => alarm.end ?? null)),
      texts(rows.map(({ settled }) => String(settled))),
      texts(ofRows.map(({ message }) => message)),
      texts(rows.map(({ alarm }) => (alarm.value === undefined ? null : JSON.stringify(alarm.value)))),
      texts(rows.map(({ alarm }) => (alarm.threshold === undefined ? null : String(alarm.threshold)))),
      uuids(rows.map(({ alarm }) => alarm.causeReadingId ?? null))
    ])
    if (events.length === 0) return
    const ofEvents = events.map(told)
    const traceparents = yield* CurrentTraceparents
    yield* sql.unsafe(saveEvents, [
      uuids(events.map(({ id }) => id)),
      uuids(events.map(({ tenantId }) => tenantId)),
      texts(events.map(({ eventType }) => eventType)),
      texts(events.map(() => entityType)),
      uuids(events.map(({ entityId }) => entityId)),
      texts(events.map(({ alarm }) => alarm.severity)),
      bigintegers(events.map(({ occurredAt }) => BigInt(occurredAt))),
      texts(
        events.map((event, index) =>
          JSON.stringify(payloadOf(event, ofEvents[index]!.config, ofEvents[index]!.message))
        )
      ),
      uuids(events.map(({ alarm }) => alarm.ruleId)),
      uuids(events.map(({ alarmId }) => alarmId)),
      integers(ofEvents.map(({ priority }) => priority)),
      texts(ofEvents.map(({ message }) => message)),
      texts(events.map(({ entityId }) => traceparents?.get(entityId) ?? null))
    ])
  },
  Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
)

interface SaidRow {
  readonly id: string
  readonly is_spent: boolean
  readonly entity_id: string
  readonly rule_id: string
  readonly rule_version: number
  readonly severity: RuleAlarm["severity"]
  readonly started_at: bigint
  readonly first_started_at: bigint | null
  readonly ended_at: bigint | null
  readonly end_reason: NonNullable<RuleAlarm["end"]> | null
  readonly settled: boolean
  readonly value: NonNullable<RuleAlarm["value"]> | null
  readonly threshold: number | null
  readonly cause_reading_id: NonNullable<RuleAlarm["causeReadingId"]> | null
}

const toLive = (row: SaidRow): LiveAlarm => {
  const startedAt = Number(row.started_at)
  return {
    id: row.id,
    settled: row.settled,
    announced: row.severity,
    firstStartedAt: Number(row.first_started_at ?? row.started_at),
    alarm: {
      ruleId: row.rule_id as RuleAlarm["ruleId"],
      ruleVersion: row.rule_version,
      severity: row.severity,
      severityAt: startedAt,
      startedAt,
      ...(row.ended_at !== null && { endedAt: Number(row.ended_at) }),
      ...(row.end_reason !== null && { end: row.end_reason }),
      ...(row.value !== null && { value: row.value }),
      ...(row.threshold !== null && { threshold: row.threshold }),
      ...(row.cause_reading_id !== null && { causeReadingId: row.cause_reading_id })
    }
  }
}

/**
 * What the rows say of the alarms of entities, by entity: those that are open, may still be corrected or go beyond an instant, and
 * the ids that are spent beyond it.
 */
export const loadSaidAlarms = (
  sql: Sql,
  entities: ReadonlyArray<{ readonly entityId: string; readonly since: Instant }>
): Effect.Effect<ReadonlyMap<string, SaidAlarms>, DatabaseUnavailable> =>
  sql
    .unsafe<SaidRow>(
      `select id, alarm.entity_id, rule_id, rule_version, severity, ${toMicros("started_at")} as started_at,
        ${toMicros("first_started_at")} as first_started_at, ${toMicros("ended_at")} as ended_at, end_reason, settled,
        value, threshold, cause_reading_id, not is_live as is_spent
      from unnest($1::uuid[], $2::bigint[]) as given (entity_id, since)
      join alarms alarm on alarm.entity_id = given.entity_id,
        lateral (select state <> 'retracted' and
          (state = 'active' or not settled or ended_at > ${toTime("since")}) as is_live)
      where is_live or first_started_at > ${toTime("since")}`,
      [uuids(entities.map(({ entityId }) => entityId)), bigintegers(entities.map(({ since }) => BigInt(since)))]
    )
    .pipe(
      Effect.map((rows) => {
        const said = new Map<string, { live: Map<string, LiveAlarm>; spent: Map<string, Instant> }>()
        for (const row of rows) {
          const one = toLive(row)
          const ofEntity = said.get(row.entity_id) ?? { live: new Map(), spent: new Map() }
          said.set(row.entity_id, ofEntity)
          if (row.is_spent) ofEntity.spent.set(one.id, one.firstStartedAt)
          else ofEntity.live.set(alarmKey(one.alarm), one)
        }
        return said
      }),
      Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
    )
