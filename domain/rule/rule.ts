/**
 * Rules: when a reading is worth an alarm, as users write it.
 * @module
 */
import { Schema } from "effect"
import { Expression } from "../expression/expression.ts"
import { Instant, MetricKey, orElse, RuleId, TenantId, Uuid } from "../ids.ts"
import { Severity } from "../system-event.ts"

const seconds = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 31 * 86_400 }))
const durationSeconds = seconds.pipe(Schema.withDecodingDefaultKey(orElse(0)))

/** `operator` tells them apart. */
export const Condition = Schema.Union([
  Schema.Struct({
    operator: Schema.Literals([">", ">=", "<", "<=", "==", "!="]),
    value: Schema.Finite,
    durationSeconds
  }),
  Schema.Struct({
    operator: Schema.Literals(["between", "outside"]),
    value: Schema.Tuple([Schema.Finite, Schema.Finite]),
    durationSeconds
  }),
  // two thresholds: severity warning past the first, critical past the second
  Schema.Struct({
    operator: Schema.Literals(["above", "below"]),
    warning: Schema.Finite,
    critical: Schema.Finite,
    durationSeconds
  }),
  // change per second over the last overSeconds
  Schema.Struct({
    operator: Schema.Literals(["rising", "falling"]),
    perSecond: Schema.Finite,
    overSeconds: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 86_400 })),
    durationSeconds
  }),
  Schema.Struct({ operator: Schema.Literal("noData"), noDataSeconds: Schema.Int.check(Schema.isGreaterThan(0)) }),
  // JSONata over the entity's metrics; holds when it gives true
  Schema.Struct({ operator: Schema.Literal("expression"), expression: Expression, durationSeconds })
])
export type Condition = typeof Condition.Type

/** days: 1 Monday … 7 Sunday; from, to: "HH:MM" in the time zone, `to` exclusive, before `from` means past midnight. */
export const RuleSchedule = Schema.Struct({
  days: Schema.NonEmptyArray(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 7 }))),
  from: Schema.String.check(Schema.isPattern(/^([01]\d|2[0-3]):[0-5]\d$/)),
  to: Schema.String.check(Schema.isPattern(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/)),
  timeZone: Schema.String // IANA
})
export type RuleSchedule = typeof RuleSchedule.Type

export const RuleAction = Schema.Union([
  Schema.Struct({ type: Schema.Literal("create_activity"), templateId: Uuid }),
  Schema.Struct({ type: Schema.Literal("webhook"), url: Schema.NonEmptyString }),
  Schema.Struct({
    type: Schema.Literal("notify"),
    channel: Schema.Literals(["in_app", "email"]),
    to: Schema.NonEmptyString // a user's id or e-mail address, or a role
  })
])
export type RuleAction = typeof RuleAction.Type

export const RuleScope = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("all") }),
  Schema.Struct({ kind: Schema.Literals(["type", "group"]), id: Uuid }),
  Schema.Struct({ kind: Schema.Literal("entities"), ids: Schema.NonEmptyArray(Uuid) })
])
export type RuleScope = typeof RuleScope.Type

const Priority = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 })) // 1 is the most urgent

/** threshold_rule_versions.config: what a version of a rule says. */
export const RuleConfig = Schema.Struct({
  name: Schema.NonEmptyString,
  entityType: Schema.Literals(["device", "asset"]),
  scope: RuleScope,
  metricKey: Schema.optionalKey(MetricKey), // absent only for an expression, or for noData of any metric
  condition: Condition,
  hysteresis: Schema.Finite.check(Schema.isGreaterThanOrEqualTo(0)).pipe(Schema.withDecodingDefaultKey(orElse(0))), // must return this far past the threshold to clear, in the metric's unit
  debounceSeconds: durationSeconds, // the breach must hold max(duration, debounce)
  cooldownSeconds: seconds.pipe(Schema.withDecodingDefaultKey(orElse(300))), // from the raising; suppresses a raising, never a clearing
  severity: Severity,
  priority: Schema.optionalKey(Priority), // absent: from the severity
  schedule: Schema.optionalKey(RuleSchedule),
  eventType: Schema.optionalKey(Schema.String), // what users call it; in the payload of the event
  messageTemplate: Schema.String.pipe(Schema.withDecodingDefaultKey(orElse(""))),
  actions: Schema.Array(RuleAction).pipe(Schema.withDecodingDefaultKey(orElse([]))),
  notifyWhenSettled: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(orElse(false))), // else at once
  isActive: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(orElse(true)))
})
export type RuleConfig = typeof RuleConfig.Type

/** A version of a rule: in force for readings from effectiveAt until the next version's. */
export const RuleVersion = Schema.Struct({
  id: RuleId,
  version: Schema.Int,
  effectiveAt: Instant,
  tenantId: TenantId,
  config: RuleConfig
})
export type RuleVersion = typeof RuleVersion.Type

/** In an asset type: becomes a rule over all assets of the type. */
export const TypeThreshold = Schema.Struct({
  metricKey: MetricKey,
  direction: Schema.Literals(["above", "below"]),
  warning: Schema.Finite,
  critical: Schema.Finite,
  hysteresis: Schema.optionalKey(Schema.Finite),
  debounceSeconds: Schema.optionalKey(Schema.Int),
  cooldownSeconds: Schema.optionalKey(Schema.Int)
})
/** In an asset type: becomes a rule with an expression. */
export const EventRule = Schema.Struct({
  key: Schema.NonEmptyString, // identifies it across versions of the type
  if: Expression,
  eventType: Schema.NonEmptyString,
  severity: Severity,
  priority: Schema.optionalKey(Priority),
  message: Schema.String,
  actions: Schema.Array(RuleAction).pipe(Schema.withDecodingDefaultKey(orElse([]))),
  cooldownSeconds: Schema.optionalKey(Schema.Int)
})
