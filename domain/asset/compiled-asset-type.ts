/**
 * A version of an asset type, compiled once: what the hot path uses, and what is wrong with a configuration.
 * @module
 */
import type { MetricValue } from "../readings.ts"
import type { AssetTypeConfig, AssetTypeProfile } from "./asset-type.ts"
import { compileDerived, type DerivedMetric } from "./derived.ts"
import type { Fault, Parse } from "./health/algorithm.ts"
import { type CompiledHealth, compileHealth } from "./health/registry.ts"
import { mappingFault } from "./mapping.ts"
import { type ValidationRule } from "./validation.ts"
import { DEFAULT_WINDOW_SECONDS, type Window } from "./window.ts"

export interface CompiledAssetType {
  readonly number: number
  readonly effectiveAt: number
  readonly config: AssetTypeConfig
  readonly windowOf: (key: string) => Window
  readonly validationOf: (key: string) => ValidationRule | undefined
  readonly derived: ReadonlyArray<DerivedMetric>
  readonly health: CompiledHealth | undefined
  readonly rollup: AssetTypeConfig["rollup"]
}

/** Where a fault is: "derived.power", "healthAlgorithm.metrics[0].max". */
export interface AssetTypeFault {
  readonly path: string
  readonly message: string
}

/** The metric that carries the score, in percent. */
export const HEALTH_SCORE = "health_score"

const latest: Window = { seconds: DEFAULT_WINDOW_SECONDS, fn: "latest" }

/** Compiles a version; faults are told, and what is wrong is left out of what is compiled. */
export const compileAssetType = (
  config: AssetTypeConfig,
  parse: Parse,
  fault: Fault = () => {},
  version: { readonly number: number; readonly effectiveAt: number } = { number: 0, effectiveAt: 0 }
): CompiledAssetType => {
  const { aggregationRules, healthAlgorithm, rollup, transformationEngine, validationRules } = config
  const within =
    (prefix: string): Fault =>
    (path, message) =>
      fault(path === "" ? prefix : `${prefix}.${path}`, message)
  for (const [key, path] of Object.entries(transformationEngine.mappings)) {
    const wrong = mappingFault(path)
    if (wrong !== undefined) fault(`transformationEngine.mappings.${key}`, wrong)
  }
  for (const [key, { windowSeconds }] of Object.entries(aggregationRules)) {
    if (windowSeconds % 60 !== 0) {
      fault(`aggregationRules.${key}.windowSeconds`, `must be a multiple of 60; ${windowSeconds} is not`)
    }
  }
  for (const [key, { max, min }] of Object.entries(validationRules)) {
    if (min !== undefined && max !== undefined && min > max) {
      fault(`validationRules.${key}.max`, `must not be less than min (${min})`)
    }
  }
  for (const key of [HEALTH_SCORE]) {
    if (key in transformationEngine.derived) {
      fault(`transformationEngine.derived.${key}`, `is the name of the health score and cannot be derived`)
    }
  }
  const windows = new Map<string, Window>(
    Object.entries(aggregationRules).map(([key, { fn, windowSeconds }]) => [key, { seconds: windowSeconds, fn }])
  )
  const validations = new Map(Object.entries(validationRules))
  return {
    ...version,
    config,
    windowOf: windows.size === 0 ? () => latest : (key) => windows.get(key) ?? latest,
    validationOf: (key) => validations.get(key),
    derived: compileDerived(transformationEngine.derived, parse, within("transformationEngine.derived")),
    health:
      healthAlgorithm === undefined ? undefined : compileHealth(healthAlgorithm, parse, within("healthAlgorithm")),
    rollup
  }
}

/** The published versions of a type, compiled, oldest first. */
export const compileVersions = (profile: AssetTypeProfile, parse: Parse): ReadonlyArray<CompiledAssetType> =>
  profile.versions.map(({ config, effectiveAt, number }) =>
    compileAssetType(config, parse, undefined, { number, effectiveAt })
  )

export const isEmpty = (record: Readonly<Record<string, MetricValue>>): boolean => {
  for (const _ in record) return false
  return true
}
