/**
 * Derived metrics: expressions over the asset's metrics, in the order of their dependencies.
 * @module
 */
import { Result } from "effect"
import type { Evaluate, ParsedExpression } from "../expression/expression.ts"
import type { MetricValue } from "../readings.ts"
import type { Fault, Parse, Values } from "./health/algorithm.ts"

export interface DerivedMetric {
  readonly key: string
  readonly expression: ParsedExpression
}

/** A cycle as people read it: `a → b → a`; undefined without one. */
const cycleIn = (metrics: ReadonlyMap<string, DerivedMetric>): string | undefined => {
  const done = new Set<string>()
  const path: Array<string> = []
  const visit = (key: string): string | undefined => {
    if (done.has(key)) return undefined
    const start = path.indexOf(key)
    if (start >= 0) return [...path.slice(start), key].join(" → ")
    path.push(key)
    for (const read of metrics.get(key)!.expression.reads ?? []) {
      const cycle = metrics.has(read) ? visit(read) : undefined
      if (cycle !== undefined) return cycle
    }
    path.pop()
    done.add(key)
    return undefined
  }
  for (const key of metrics.keys()) {
    const cycle = visit(key)
    if (cycle !== undefined) return cycle
  }
  return undefined
}

/** Each after those it reads; one that may read anything comes last. */
const inOrder = (metrics: ReadonlyMap<string, DerivedMetric>): ReadonlyArray<DerivedMetric> => {
  const ordered = new Map<string, DerivedMetric>()
  const add = (metric: DerivedMetric) => {
    if (ordered.has(metric.key)) return
    for (const read of metric.expression.reads ?? []) {
      const other = metrics.get(read)
      if (other !== undefined) add(other)
    }
    ordered.set(metric.key, metric)
  }
  for (const metric of metrics.values()) if (metric.expression.reads !== undefined) add(metric)
  for (const metric of metrics.values()) add(metric)
  return [...ordered.values()]
}

/** In the order in which they are to be evaluated; what is wrong with them is told to `fault`, a cycle with its names. */
export const compileDerived = (
  derived: Readonly<Record<string, string>>,
  parse: Parse,
  fault: Fault
): ReadonlyArray<DerivedMetric> => {
  const metrics = new Map<string, DerivedMetric>()
  for (const [key, source] of Object.entries(derived)) {
    const parsed = parse(source)
    if (Result.isSuccess(parsed)) metrics.set(key, { key, expression: parsed.success })
    else fault(key, `${parsed.failure.message} (at position ${parsed.failure.position})`)
  }
  const cycle = cycleIn(metrics)
  if (cycle === undefined) return inOrder(metrics)
  fault("", `the derived metrics ${cycle} depend on themselves`)
  return []
}

const isPlain = (value: unknown): boolean => {
  if (typeof value === "number") return Number.isFinite(value)
  if (value === null || typeof value !== "object") return typeof value === "string" || typeof value === "boolean"
  const items: ReadonlyArray<unknown> = Array.isArray(value) ? value : Object.values(value)
  return items.every((item) => item === null || isPlain(item))
}

/** What an expression gave, where a metric can hold it. Undefined for nothing, null, functions and infinite numbers. */
export const metricValueOf = (value: unknown): MetricValue | undefined =>
  value !== null && value !== undefined && isPlain(value) ? (value as MetricValue) : undefined

/** Told of each derived metric that has a value; `values` is changed: it gains them. Failures leave the metric out. */
export const derive = (
  metrics: ReadonlyArray<DerivedMetric>,
  values: Record<string, Values[string]>,
  evaluate: Evaluate,
  tell: (metric: DerivedMetric, value: MetricValue) => void
): void => {
  for (const metric of metrics) {
    const result = evaluate(metric.expression, values)
    const value = Result.isSuccess(result) ? metricValueOf(result.success) : undefined
    if (value === undefined) continue
    values[metric.key] = value
    tell(metric, value)
  }
}
