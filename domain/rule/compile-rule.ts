/**
 * What a rule's condition says of a value, worked out once per version.
 * @module
 */
import { Result } from "effect"
import type { Evaluate, ParsedExpression } from "../expression/expression.ts"
import type { Instant, RuleId } from "../ids.ts"
import type { MetricValue } from "../readings.ts"
import type { Severity } from "../system-event.ts"
import type { Condition, RuleConfig, RuleSchedule, RuleVersion } from "./rule.ts"

/** 0: nothing; 1: past the threshold, or the first of two; 2: past the second. */
export type Level = 0 | 1 | 2

/** What a threshold says of a number. */
interface Limits {
  readonly levelOf: (value: number) => Level
  /** Whether an alarm goes on: the value is not back past the threshold by the hysteresis. */
  readonly holds: (value: number) => boolean
  readonly thresholdOf: (value: number, level: Level) => number
}

export type Kind =
  | ({ readonly _tag: "Value"; readonly key: string } & Limits)
  | ({ readonly _tag: "Rate"; readonly key: string; readonly overMicros: number } & Limits)
  | {
      readonly _tag: "NoData"
      readonly key: string | undefined
      readonly silenceMicros: number
      readonly seconds: number
    }
  | {
      readonly _tag: "Expression"
      /** Undefined: any. */
      readonly reads: ReadonlyArray<string> | undefined
      readonly isTrue: (metrics: Readonly<Record<string, MetricValue>>) => boolean
    }

export interface CompiledVersion {
  readonly version: number
  readonly effectiveAt: Instant
  readonly schedule: RuleSchedule | undefined
  /** Undefined: not in force. */
  readonly kind: Kind | undefined
  /** How long a breach must hold, in microseconds. */
  readonly holdMicros: number
  readonly cooldownMicros: number
  readonly severityOf: (level: Level) => Severity
}

/** The versions of one rule, by effectiveAt. */
export interface CompiledRule {
  readonly ruleId: RuleId
  readonly versions: ReadonlyArray<CompiledVersion>
}

const SECOND = 1_000_000

type Compared = Extract<Condition, { readonly operator: ">" | ">=" | "<" | "<=" | "==" | "!=" }>["operator"]

const comparisons: Record<Compared, (value: number, threshold: number, hysteresis: number) => boolean> = {
  ">": (value, threshold, hysteresis) => value > threshold - hysteresis,
  ">=": (value, threshold, hysteresis) => value >= threshold - hysteresis,
  "<": (value, threshold, hysteresis) => value < threshold + hysteresis,
  "<=": (value, threshold, hysteresis) => value <= threshold + hysteresis,
  "==": (value, threshold, hysteresis) => Math.abs(value - threshold) <= hysteresis,
  "!=": (value, threshold) => value !== threshold
}

const limitsOf = (
  condition: Exclude<Condition, { readonly operator: "noData" | "expression" }>,
  hysteresis: number
): Limits => {
  switch (condition.operator) {
    case "between":
    case "outside": {
      const low = Math.min(...condition.value)
      const high = Math.max(...condition.value)
      const inside = (value: number, margin: number) => value >= low - margin && value <= high + margin
      if (condition.operator === "between") {
        return {
          levelOf: (value) => (inside(value, 0) ? 1 : 0),
          holds: (value) => inside(value, hysteresis),
          thresholdOf: () => low
        }
      }
      // A value in the middle always ends it.
      const margin = Math.min(hysteresis, (high - low) / 2)
      return {
        levelOf: (value) => (inside(value, 0) ? 0 : 1),
        holds: (value) => !inside(value, -margin),
        thresholdOf: (value) => (value < (low + high) / 2 ? low : high)
      }
    }
    case "above":
    case "below": {
      const { critical, warning } = condition
      const isPast = comparisons[condition.operator === "above" ? ">" : "<"]
      return {
        levelOf: (value) => (isPast(value, critical, 0) ? 2 : isPast(value, warning, 0) ? 1 : 0),
        holds: (value) => isPast(value, warning, hysteresis) || isPast(value, critical, 0),
        thresholdOf: (_, level) => (level === 2 ? critical : warning)
      }
    }
    case "rising":
    case "falling": {
      const sign = condition.operator === "rising" ? 1 : -1
      const { perSecond } = condition
      return {
        levelOf: (rate) => (rate * sign > perSecond ? 1 : 0),
        holds: (rate) => rate * sign > perSecond - hysteresis,
        thresholdOf: () => perSecond
      }
    }
    default: {
      const { operator, value: threshold } = condition
      const isPast = comparisons[operator]
      return {
        levelOf: (value) => (isPast(value, threshold, 0) ? 1 : 0),
        holds: (value) => isPast(value, threshold, hysteresis),
        thresholdOf: () => threshold
      }
    }
  }
}

export interface Expressions {
  /** Undefined: the text is no expression; the rule then raises nothing. */
  readonly parse: (source: string) => ParsedExpression | undefined
  readonly evaluate: Evaluate
}

const kindOf = (config: RuleConfig, { evaluate, parse }: Expressions): Kind | undefined => {
  const { condition, hysteresis, isActive, metricKey: key } = config
  if (!isActive) return undefined
  switch (condition.operator) {
    case "noData": {
      const seconds = Math.max(condition.noDataSeconds, config.debounceSeconds)
      return { _tag: "NoData", key, silenceMicros: seconds * SECOND, seconds }
    }
    case "expression": {
      const parsed = parse(condition.expression)
      if (parsed === undefined) return undefined
      return {
        _tag: "Expression",
        reads: parsed.reads,
        // An evaluation that fails says nothing of the entity.
        isTrue: (metrics) => {
          const value = evaluate(parsed, metrics)
          return Result.isSuccess(value) && value.success === true
        }
      }
    }
    case "rising":
    case "falling": {
      if (key === undefined) return undefined
      return { _tag: "Rate", key, overMicros: condition.overSeconds * SECOND, ...limitsOf(condition, hysteresis) }
    }
    default:
      return key === undefined ? undefined : { _tag: "Value", key, ...limitsOf(condition, hysteresis) }
  }
}

const compileVersion = ({ config, effectiveAt, version }: RuleVersion, expressions: Expressions): CompiledVersion => {
  const { condition, severity } = config
  const isDouble = condition.operator === "above" || condition.operator === "below"
  const duration = "durationSeconds" in condition ? condition.durationSeconds : 0
  return {
    version,
    effectiveAt,
    schedule: config.schedule,
    kind: kindOf(config, expressions),
    holdMicros: condition.operator === "noData" ? 0 : Math.max(duration, config.debounceSeconds) * SECOND,
    cooldownMicros: config.cooldownSeconds * SECOND,
    severityOf: isDouble ? (level) => (level === 2 ? "critical" : "warning") : () => severity
  }
}

/**
 * Compiles each version once, however many entities it concerns.
 * @returns of the versions of some rules, by rule, oldest first: the rules
 */
export const ruleCompiler = (expressions: Expressions) => {
  const compiled = new WeakMap<RuleVersion, CompiledVersion>()
  const one = (version: RuleVersion): CompiledVersion => {
    let known = compiled.get(version)
    if (known === undefined) compiled.set(version, (known = compileVersion(version, expressions)))
    return known
  }
  return (versions: ReadonlyArray<RuleVersion>): ReadonlyArray<CompiledRule> =>
    [...Map.groupBy(versions, ({ id }) => id)].map(([ruleId, ofRule]) => ({
      ruleId,
      versions: ofRule
        .toSorted((left, right) => left.effectiveAt - right.effectiveAt || left.version - right.version)
        .map(one)
    }))
}

/** A rule that no longer says anything of an entity from an instant on; `last`: the version that did. */
export const endedRule = (ruleId: RuleId, last: number, at: Instant): CompiledRule => ({
  ruleId,
  versions: [
    {
      version: last + 1,
      effectiveAt: at,
      schedule: undefined,
      kind: undefined,
      holdMicros: 0,
      cooldownMicros: 0,
      severityOf: () => "info"
    }
  ]
})
