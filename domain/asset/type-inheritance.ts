/**
 * What an asset type takes over from its parent type: whatever it does not set itself.
 * @module
 */
import { type AssetTypeConfig } from "./asset-type.ts"

/** A type, its parent and the parent of that. */
export const MAX_TYPE_DEPTH = 3

const byKey = <A>(keyOf: (item: A) => string, inherited: ReadonlyArray<A>, own: ReadonlyArray<A>): Array<A> => {
  const set = new Set(own.map(keyOf))
  return [...inherited.filter((item) => !set.has(keyOf(item))), ...own]
}

/**
 * Lists and maps are taken over entry by entry, by metric or key; the health algorithm and the roll-up whole. Test vectors
 * are of the type that states them.
 * @param parent with what it has inherited itself; undefined: there is none, or it has never been published
 */
export const inherit = (parent: AssetTypeConfig | undefined, own: AssetTypeConfig): AssetTypeConfig => {
  if (parent === undefined) return own
  const healthAlgorithm = own.healthAlgorithm ?? parent.healthAlgorithm
  const rollup = own.rollup ?? parent.rollup
  return {
    metricDefinitions: byKey(({ key }) => key, parent.metricDefinitions, own.metricDefinitions),
    transformationEngine: {
      mappings: { ...parent.transformationEngine.mappings, ...own.transformationEngine.mappings },
      derived: { ...parent.transformationEngine.derived, ...own.transformationEngine.derived }
    },
    aggregationRules: { ...parent.aggregationRules, ...own.aggregationRules },
    validationRules: { ...parent.validationRules, ...own.validationRules },
    ...(healthAlgorithm !== undefined && { healthAlgorithm }),
    thresholdRules: byKey(
      ({ direction, metricKey }) => `${direction}:${metricKey}`,
      parent.thresholdRules,
      own.thresholdRules
    ),
    eventRules: byKey(({ key }) => key, parent.eventRules, own.eventRules),
    ...(rollup !== undefined && { rollup }),
    testVectors: own.testVectors
  }
}
