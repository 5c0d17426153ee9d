/**
 * Alarms: what a rule says of one entity over time. People's acknowledgement is not part of it.
 * @module
 */
import { Schema } from "effect"
import { Instant, ReadingId, RuleId, Uuid } from "../ids.ts"
import { MetricValue } from "../readings.ts"
import { Severity } from "../system-event.ts"

/** What a fold says of one alarm; equality of live, rebuilt and backtested holds for all fields but `id`, once settled. */
export const Alarm = Schema.Struct({
  id: Uuid, // v5(rule, rule version, entity, startedAt as first given); kept when a correction moves the start
  ruleId: RuleId,
  ruleVersion: Schema.Int,
  entityId: Uuid,
  severity: Severity, // the highest so far
  startedAt: Instant,
  endedAt: Schema.optionalKey(Instant),
  end: Schema.optionalKey(Schema.Literals(["cleared", "superseded", "deactivated"])),
  value: Schema.optionalKey(MetricValue), // that raised it; absent for silence
  threshold: Schema.optionalKey(Schema.Finite),
  causeReadingId: Schema.optionalKey(ReadingId)
})
export type Alarm = typeof Alarm.Type
