/**
 * What an asset type's configuration says about metrics that it does not have, and rules in it that would not work.
 * @module
 */
import { Result } from "effect"
import { parseExpression } from "../expression/compile.ts"
import { type AssetTypeConfig } from "./asset-type.ts"
import { type AssetTypeFault, HEALTH_SCORE } from "./compiled-asset-type.ts"

/** @param config with what the type inherits */
export const referenceFaults = (config: AssetTypeConfig): ReadonlyArray<AssetTypeFault> => {
  const { aggregationRules, eventRules, healthAlgorithm, metricDefinitions, rollup, thresholdRules, validationRules } =
    config
  const { derived, mappings } = config.transformationEngine
  const faults: Array<AssetTypeFault> = []
  const fault = (path: string, message: string) => faults.push({ path, message })

  const defined = new Set<string>()
  for (const [index, { key, max, min }] of metricDefinitions.entries()) {
    if (defined.has(key)) fault(`metricDefinitions[${index}].key`, `defines ${JSON.stringify(key)} a second time`)
    defined.add(key)
    if (min !== undefined && max !== undefined && min > max) {
      fault(`metricDefinitions[${index}].max`, `must not be less than min (${min})`)
    }
  }
  for (const key of Object.keys(mappings)) {
    if (!defined.has(key)) {
      fault(`transformationEngine.mappings.${key}`, "maps to a metric that metricDefinitions does not define")
    }
  }
  const known = new Set([...defined, ...Object.keys(derived), ...Object.keys(rollup?.metrics ?? {}), HEALTH_SCORE])
  const refer = (path: string, key: string) => {
    if (!known.has(key))
      fault(path, `names the metric ${JSON.stringify(key)}, which the type neither defines nor derives`)
  }
  for (const key of Object.keys(aggregationRules)) refer(`aggregationRules.${key}`, key)
  for (const key of Object.keys(validationRules)) refer(`validationRules.${key}`, key)
  if (healthAlgorithm !== undefined && "metrics" in healthAlgorithm) {
    for (const [index, { metricKey }] of healthAlgorithm.metrics.entries()) {
      refer(`healthAlgorithm.metrics[${index}].metricKey`, metricKey)
    }
  }
  const thresholds = new Set<string>()
  for (const [index, { critical, direction, metricKey, warning }] of thresholdRules.entries()) {
    refer(`thresholdRules[${index}].metricKey`, metricKey)
    const key = `${direction}:${metricKey}`
    if (thresholds.has(key)) fault(`thresholdRules[${index}]`, `is the second one ${direction} for ${metricKey}`)
    thresholds.add(key)
    if (direction === "above" ? critical < warning : critical > warning) {
      fault(`thresholdRules[${index}].critical`, `must lie ${direction} warning (${warning}) or on it`)
    }
  }
  const events = new Set<string>()
  for (const [index, { if: condition, key }] of eventRules.entries()) {
    if (events.has(key)) fault(`eventRules[${index}].key`, `is the key of another event rule: ${JSON.stringify(key)}`)
    events.add(key)
    const parsed = parseExpression(condition)
    if (Result.isFailure(parsed)) {
      fault(`eventRules[${index}].if`, `${parsed.failure.message} (at position ${parsed.failure.position})`)
    }
  }
  return faults
}
