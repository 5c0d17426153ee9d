/**
 * How far back readings have to be folded before what a rule says from some instant on is what it would have said live.
 * @module
 */
import type { RuleConfig } from "./rule.ts"

const HOUR = 3_600

/** In seconds: for what is under way as durations, cooldowns and windows, and an hour for values that hold. */
export const warmUpSeconds = ({ condition, cooldownSeconds, debounceSeconds }: RuleConfig): number => {
  const duration = "durationSeconds" in condition ? condition.durationSeconds : 0
  const window = "overSeconds" in condition ? condition.overSeconds : 0
  const silence = condition.operator === "noData" ? condition.noDataSeconds : 0
  return HOUR + cooldownSeconds + Math.max(duration, debounceSeconds) + window + silence
}
