/**
 * All rules of one entity as one fold: they share its readings.
 * @module
 */
import type { Gap } from "../connection-status.ts"
import type { Emit, Fold } from "../fold.ts"
import type { Instant } from "../ids.ts"
import type { MetricValue, Quality } from "../readings.ts"
import type { CompiledRule } from "./compile-rule.ts"
import { alarmKey, passRule, ruleDue, type RuleAlarm, type RuleInput, type RuleState, stepRule } from "./rule-fold.ts"

/** By rule, those with something under way. Plain JSON. */
export type EntityRules = Readonly<Record<string, RuleState>>

const nothing: EntityRules = {}

/** The gaps of ingest as they are known at the moment: where nothing is known yet, one that does not end. */
export type Gaps = () => ReadonlyArray<Gap>

/** A fold of an entity's rules. Of outputs the id is {@link alarmKey}. */
export const entityRules = (
  rules: ReadonlyArray<CompiledRule>,
  gapsOf: Gaps
): Fold<EntityRules, RuleInput, RuleAlarm> => {
  let emit: Emit<RuleAlarm>
  const tell = (alarm: RuleAlarm) => emit(alarmKey(alarm), alarm)

  const withState = (states: EntityRules, ruleId: string, state: RuleState | undefined): EntityRules => {
    if (state !== undefined) return { ...states, [ruleId]: state }
    const { [ruleId]: _, ...rest } = states
    return rest
  }

  return {
    initial: nothing,
    step: (before, input, to) => {
      emit = to
      const gaps = gapsOf()
      let states = before
      for (const rule of rules) {
        const state = states[rule.ruleId]
        const next = stepRule(rule, state, input, gaps, tell)
        if (next !== state) states = withState(states, rule.ruleId, next)
      }
      return states
    },
    pass: (before, until, to) => {
      emit = to
      const gaps = gapsOf()
      let states = before
      for (const rule of rules) {
        const state = states[rule.ruleId]
        if (state === undefined) continue
        // A version that takes effect at `until` may still be preceded by a reading.
        const next = passRule(rule, state, until, until - 1, gaps, tell)
        if (next !== state) states = { ...states, [rule.ruleId]: next }
      }
      return states
    },
    open: (states, to) => {
      for (const { alarm } of Object.values(states)) if (alarm !== undefined) to(alarmKey(alarm), alarm)
    }
  }
}

/** The next instant at which one of the rules has something to say without a reading; Infinity: none. */
export const entityDue = (rules: ReadonlyArray<CompiledRule>, states: EntityRules, gapsOf: Gaps): Instant => {
  let due = Infinity
  const gaps = gapsOf()
  for (const rule of rules) {
    const state = states[rule.ruleId]
    if (state !== undefined) due = Math.min(due, ruleDue(rule, state, gaps) ?? Infinity)
  }
  return due
}

/** What an entity's rules read of its readings. */
export interface Asked {
  /** Undefined: everything. */
  readonly keys: ReadonlySet<string> | undefined
  /** Every reading counts, whatever it holds. */
  readonly any: boolean
}

export const askedBy = (rules: ReadonlyArray<CompiledRule>): Asked => {
  const keys = new Set<string>()
  let all = false
  let any = false
  for (const { versions } of rules) {
    for (const { kind } of versions) {
      if (kind === undefined) continue
      if (kind._tag === "Expression") {
        if (kind.reads === undefined) all = true
        for (const key of kind.reads ?? []) keys.add(key)
      } else if (kind.key !== undefined) keys.add(kind.key)
      else any = true
    }
  }
  return { keys: all ? undefined : keys, any: any || all }
}

const none: RuleInput["metrics"] = {}

/** The metrics that rules ask for, without those of bad quality; undefined: the reading says nothing to them. */
export const askedMetrics = (
  { any, keys }: Asked,
  metrics: Readonly<Record<string, MetricValue>>,
  quality: Readonly<Record<string, Quality>> | undefined
): RuleInput["metrics"] | undefined => {
  let asked: Record<string, MetricValue> | undefined
  const take = (key: string) => {
    const value = metrics[key]
    if (value === undefined || quality?.[key] === "bad") return
    asked ??= {}
    asked[key] = value
  }
  if (keys === undefined) for (const key of Object.keys(metrics)) take(key)
  else for (const key of keys) take(key)
  return asked ?? (any ? none : undefined)
}
