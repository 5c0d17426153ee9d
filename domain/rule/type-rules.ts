/**
 * The rules that stand in an asset type's configuration, as ordinary rules over its assets.
 * @module
 */
import { Schema } from "effect"
import { type AssetTypeConfig } from "../asset/asset-type.ts"
import { type AssetTypeId } from "../ids.ts"
import { RuleConfig } from "./rule.ts"

const decode = Schema.decodeUnknownSync(RuleConfig)
const given = <Key extends string, A>(key: Key, value: A | undefined) => (value === undefined ? {} : { [key]: value })

/**
 * By the part of the configuration that makes each, which identifies it across the type's versions.
 * @param config with what the type inherits
 */
export const rulesOfType = (
  assetTypeId: AssetTypeId,
  typeName: string,
  config: AssetTypeConfig
): ReadonlyMap<string, RuleConfig> => {
  const rules = new Map<string, RuleConfig>()
  const scope = { kind: "type", id: assetTypeId }
  for (const rule of config.thresholdRules) {
    const { critical, direction, metricKey, warning } = rule
    rules.set(
      `threshold:${direction}:${metricKey}`,
      decode({
        name: `${typeName}: ${metricKey} ${direction} ${warning}`,
        entityType: "asset",
        scope,
        metricKey,
        condition: { operator: direction, warning, critical },
        ...given("hysteresis", rule.hysteresis),
        ...given("debounceSeconds", rule.debounceSeconds),
        ...given("cooldownSeconds", rule.cooldownSeconds),
        severity: "warning",
        messageTemplate: `{{asset.name}}: ${metricKey} is {{value}}, ${direction} {{threshold}}`
      })
    )
  }
  for (const rule of config.eventRules) {
    rules.set(
      `event:${rule.key}`,
      decode({
        name: `${typeName}: ${rule.key}`,
        entityType: "asset",
        scope,
        condition: { operator: "expression", expression: rule.if },
        ...given("cooldownSeconds", rule.cooldownSeconds),
        severity: rule.severity,
        ...given("priority", rule.priority),
        eventType: rule.eventType,
        messageTemplate: rule.message,
        actions: rule.actions
      })
    )
  }
  return rules
}
