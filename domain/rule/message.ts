/**
 * What an alarm says to people: the rule's template with what it names filled in.
 * @module
 */
import type { RuleConfig } from "./rule.ts"
import type { RuleAlarm } from "./rule-fold.ts"

export interface MessageEntity {
  readonly type: "asset" | "device"
  readonly name: string
}

const MAX_UNITS = 2_000
const PLACEHOLDER = /\{\{\s*([A-Za-z.]+)\s*\}\}/g

const textOf = (value: unknown): string =>
  typeof value === "number"
    ? String(Math.round(value * 1e6) / 1e6)
    : typeof value === "string"
      ? value
      : JSON.stringify(value)

/** Without a template: what is the case, in a sentence. */
const plainMessage = ({ name }: MessageEntity, config: RuleConfig, { threshold, value }: RuleAlarm): string => {
  if (config.condition.operator === "noData") return `${name}: ${config.name}, no data for ${threshold ?? ""} s`
  const metric = config.metricKey === undefined ? "" : `, ${config.metricKey}`
  return `${name}: ${config.name}${metric}${value === undefined ? "" : ` ${textOf(value)}`}${
    threshold === undefined ? "" : ` (threshold ${textOf(threshold)})`
  }`
}

/**
 * Knows `{{asset.name}}`, `{{device.name}}`, `{{entity.name}}`, `{{rule.name}}`, `{{metric}}`, `{{value}}`, `{{threshold}}`,
 * `{{severity}}` and `{{startedAt}}`. What it does not know, or what has no value, stays as it is written.
 */
export const messageOf = (entity: MessageEntity, config: RuleConfig, alarm: RuleAlarm): string => {
  if (config.messageTemplate === "") return plainMessage(entity, config, alarm).slice(0, MAX_UNITS)
  const values: Readonly<Record<string, unknown>> = {
    "entity.name": entity.name,
    [`${entity.type}.name`]: entity.name,
    "rule.name": config.name,
    metric: config.metricKey,
    value: alarm.value,
    threshold: alarm.threshold,
    severity: alarm.severity,
    startedAt: new Date(alarm.startedAt / 1_000).toISOString()
  }
  return config.messageTemplate
    .replaceAll(PLACEHOLDER, (written, name: string) => (values[name] === undefined ? written : textOf(values[name])))
    .slice(0, MAX_UNITS)
}
