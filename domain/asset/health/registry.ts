/**
 * The health algorithms by name.
 * @module
 */
import type { HealthAlgorithm } from "../asset-type.ts"
import type { Fault, HealthAlgorithmKind, HealthScorer, Parse } from "./algorithm.ts"
import { scoreBased } from "./score-based.ts"
import { thresholdBased } from "./threshold-based.ts"
import { weightedAverage } from "./weighted-average.ts"
import { weightedDeductions } from "./weighted-deductions.ts"

const kinds: { readonly [Name in HealthAlgorithm["algorithm"]]: HealthAlgorithmKind<Name> } = {
  weighted_average: weightedAverage,
  threshold_based: thresholdBased,
  weighted_deductions: weightedDeductions,
  score_based: scoreBased
}

interface AnyKind {
  readonly compile: (config: HealthAlgorithm, parse: Parse, fault: Fault) => Omit<CompiledHealth, "algorithm">
}

export interface CompiledHealth {
  readonly algorithm: HealthAlgorithm["algorithm"]
  readonly score: HealthScorer
  /** The metrics it looks at; undefined: any. */
  readonly reads: ReadonlyArray<string> | undefined
}

/** Compiles an algorithm; what is wrong with it is told to `fault`. */
export const compileHealth = (config: HealthAlgorithm, parse: Parse, fault: Fault): CompiledHealth => {
  // The entry is the one of the configuration's own name.
  const kind = kinds[config.algorithm] as unknown as AnyKind
  return { algorithm: config.algorithm, ...kind.compile(config, parse, fault) }
}
