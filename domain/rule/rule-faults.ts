/**
 * What is wrong with a rule that somebody wants to save, beyond its form.
 * @module
 */
import { Result } from "effect"
import { parseExpression } from "../expression/compile.ts"
import { type Condition, type RuleConfig, type RuleSchedule } from "./rule.ts"

export interface RuleFault {
  readonly path: string
  readonly message: string
}

const isTimeZone = (timeZone: string): boolean => {
  try {
    return Intl.DateTimeFormat("en", { timeZone }).format(0) !== ""
  } catch {
    return false
  }
}

const conditionFaults = (condition: Condition): ReadonlyArray<RuleFault> => {
  switch (condition.operator) {
    case "between":
    case "outside": {
      const [low, high] = condition.value
      return low < high
        ? []
        : [{ path: "condition.value", message: `must be [low, high] with low below high, not [${low}, ${high}]` }]
    }
    case "above":
      return condition.warning <= condition.critical
        ? []
        : [{ path: "criticalThreshold", message: `must not be below warningThreshold (${condition.warning})` }]
    case "below":
      return condition.warning >= condition.critical
        ? []
        : [{ path: "criticalThreshold", message: `must not be above warningThreshold (${condition.warning})` }]
    case "rising":
    case "falling":
      return condition.perSecond > 0 ? [] : [{ path: "condition.perSecond", message: "must be above 0" }]
    case "expression": {
      const parsed = parseExpression(condition.expression)
      if (Result.isSuccess(parsed)) return []
      const { message, position } = parsed.failure
      return [{ path: "condition.expression", message: `${message} (at position ${position})` }]
    }
    default:
      return []
  }
}

const scheduleFaults = ({ days, from, timeZone, to }: RuleSchedule): ReadonlyArray<RuleFault> => [
  ...(isTimeZone(timeZone)
    ? []
    : [
        { path: "schedule.timeZone", message: `${JSON.stringify(timeZone)} is no IANA time zone such as Europe/Berlin` }
      ]),
  ...(new Set(days).size === days.length ? [] : [{ path: "schedule.days", message: "names a day twice" }]),
  ...(from === to
    ? [{ path: "schedule.to", message: `is the same as from (${from}): 00:00 to 24:00 is a whole day` }]
    : [])
]

/** Paths are those of a rule in REST. */
export const ruleFaults = (config: RuleConfig): ReadonlyArray<RuleFault> => {
  const { actions, condition, entityType, metricKey, schedule, scope } = config
  const faults = [...conditionFaults(condition), ...(schedule === undefined ? [] : scheduleFaults(schedule))]
  const needsMetric = condition.operator !== "expression" && condition.operator !== "noData"
  if (needsMetric && metricKey === undefined) {
    faults.push({ path: "metricKey", message: `is needed: the condition "${condition.operator}" looks at one metric` })
  }
  if (scope.kind === "group" && entityType === "device") {
    faults.push({ path: "groupId", message: "names a group of assets: entityType must be asset" })
  }
  for (const [index, action] of actions.entries()) {
    if (action.type !== "webhook") continue
    const url = URL.canParse(action.url) ? new URL(action.url) : undefined
    if (url === undefined || !["http:", "https:"].includes(url.protocol)) {
      faults.push({ path: `actions[${index}].url`, message: `${JSON.stringify(action.url)} is no http or https URL` })
    }
  }
  return faults
}
