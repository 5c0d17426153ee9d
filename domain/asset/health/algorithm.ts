/**
 * What a health algorithm is: a file of its own beside this one, and a line in `registry.ts`.
 * @module
 */
import type { Result } from "effect"
import type { Evaluate, ExpressionFault, ParsedExpression } from "../../expression/expression.ts"
import type { MetricValue } from "../../readings.ts"
import type { HealthContribution } from "../asset-reading.ts"
import type { HealthAlgorithm } from "../asset-type.ts"

/** The asset's metrics as they hold at one instant; a metric without a good value is absent. */
export type Values = Readonly<Record<string, MetricValue>>

/** 0 to 100, and what it is made of: the points add up to the score, each rounded to a millionth. */
export interface Health {
  readonly score: number
  readonly contributions: ReadonlyArray<HealthContribution>
}

/** Undefined without data: no data is no score, never a bad one. */
export type HealthScorer = (values: Values, evaluate: Evaluate) => Health | undefined

export type Parse = (source: string) => Result.Result<ParsedExpression, ExpressionFault>

/** Told what is wrong, at a path within the algorithm's configuration. */
export type Fault = (path: string, message: string) => void

export interface HealthAlgorithmKind<Name extends HealthAlgorithm["algorithm"]> {
  readonly name: Name
  readonly compile: (
    config: Extract<HealthAlgorithm, { readonly algorithm: Name }>,
    parse: Parse,
    fault: Fault
  ) => {
    readonly score: HealthScorer
    /** The metrics it looks at; undefined: any. */
    readonly reads: ReadonlyArray<string> | undefined
  }
}

/** Floating-point noise is no part of a score: a millionth of a point. */
const rounded = (value: number): number => Math.round(value * 1e6) / 1e6

export const healthOf = (contributions: ReadonlyArray<HealthContribution>): Health => {
  let sum = 0
  for (const { points } of contributions) sum += points
  return {
    score: Math.min(100, Math.max(0, rounded(sum))),
    contributions: contributions.map((one) => ({ ...one, score: rounded(one.score), points: rounded(one.points) }))
  }
}

/** Numbers as they are, true as 1, false as 0; undefined for everything else. */
export const numberOf = (value: MetricValue | undefined): number | undefined =>
  typeof value === "number" ? value : typeof value === "boolean" ? Number(value) : undefined

/** A score by itself and how much it counts. */
export interface Weighted extends Omit<HealthContribution, "points"> {
  readonly weight: number
}

/** Σ(score · weight) / Σ weight, each part as points; undefined without any weight. */
export const weightedHealth = (parts: ReadonlyArray<Weighted>): Health | undefined => {
  const total = parts.reduce((sum, { weight }) => sum + weight, 0)
  if (total <= 0) return undefined
  return healthOf(parts.map((part) => ({ ...part, points: (part.score * part.weight) / total })))
}

/** Own properties only: a metric may bear the name of something that every object has. */
export const own = <A>(record: Readonly<Record<string, A>>, key: string): A | undefined =>
  Object.hasOwn(record, key) ? record[key] : undefined
