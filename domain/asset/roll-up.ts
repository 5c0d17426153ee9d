/**
 * What a parent makes of its children: their metrics by sum, average, least, greatest, number, or the one of the child that
 * is worst off; their health by average, by weight, or the worst.
 * @module
 */
import type { AssetId, Instant } from "../ids.ts"
import type { MetricValue } from "../readings.ts"
import type { AssetTypeConfig } from "./asset-type.ts"
import { type Health, numberOf, own, weightedHealth } from "./health/algorithm.ts"

type RollUp = NonNullable<AssetTypeConfig["rollup"]>
export type RollUpFunction = RollUp["metrics"][string]

/** A child as its parent saw it last: values hold until another comes. */
export interface Child {
  readonly ts: Instant
  readonly weight: number
  readonly health?: number
  readonly metrics: Readonly<Record<string, MetricValue>>
}
export type Children = Readonly<Record<string, Child>>

/** The value of the child with the lowest health; without any health there is no worst child. */
const ofWorst = (children: Children, key: string): MetricValue | undefined => {
  let worst: Child | undefined
  for (const id of Object.keys(children).toSorted()) {
    const child = children[id]!
    if (child.health === undefined || own(child.metrics, key) === undefined) continue
    if (worst === undefined || child.health < worst.health!) worst = child
  }
  return worst === undefined ? undefined : own(worst.metrics, key)
}

/** Over the children that have a value of the metric; undefined without any. Independent of the children's order. */
export const rollUpMetric = (children: Children, key: string, fn: RollUpFunction): MetricValue | undefined => {
  if (fn === "worst") return ofWorst(children, key)
  let count = 0
  const numbers: Array<number> = []
  for (const id in children) {
    const value = own(children[id]!.metrics, key)
    if (value === undefined) continue
    count++
    const number = numberOf(value)
    if (number !== undefined) numbers.push(number)
  }
  if (fn === "count") return count === 0 ? undefined : count
  if (numbers.length === 0) return undefined
  switch (fn) {
    case "min":
      return numbers.reduce((left, right) => Math.min(left, right))
    case "max":
      return numbers.reduce((left, right) => Math.max(left, right))
    default: {
      // Added in the order of size: floating-point sums depend on the order.
      const sum = numbers.toSorted((left, right) => left - right).reduce((left, right) => left + right, 0)
      return fn === "sum" ? sum : sum / numbers.length
    }
  }
}

/** Undefined where no child has a score. */
export const rollUpHealth = (children: Children, by: Exclude<RollUp["health"], "own">): Health | undefined => {
  const scored = Object.keys(children)
    .toSorted()
    .flatMap((id) => {
      const { health, weight } = children[id]!
      return health === undefined
        ? []
        : [{ childId: id as AssetId, score: health, weight: by === "weighted" ? weight : 1 }]
    })
  if (by !== "worst" || scored.length === 0) return weightedHealth(scored)
  return weightedHealth([scored.reduce((worst, child) => (child.score < worst.score ? child : worst))])
}
