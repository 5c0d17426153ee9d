/**
 * A device type's transformation rules, compiled: units converted and expressions evaluated over the extracted metrics, in order.
 * @module
 */
import { Result } from "effect"
import { type DeviceTypeConfig, type Transformation } from "./device-type.ts"
import { Poison } from "./errors.ts"
import { parseExpression } from "./expression/compile.ts"
import { type Evaluate, type ParsedExpression } from "./expression/expression.ts"
import { type Extracted, type Problem } from "./extract.ts"
import { type MetricValue, type Quality } from "./readings.ts"
import { storableJson, storableText } from "./storable.ts"
import { unitConversion } from "./units.ts"

const MAX_EXPRESSIONS = 100

/** Changes the extracted metrics in place; returns why the message can have none. */
export type Transform = (extracted: Extracted, evaluate: Evaluate) => Poison | undefined

const remove = (extracted: Extracted, key: string): undefined => {
  delete extracted.metrics[key]
  delete extracted.quality[key]
  extracted.skipped++
}

const converting =
  (key: string, convert: (value: number) => number): Transform =>
  (extracted) => {
    const value = extracted.metrics[key]
    if (typeof value !== "number") return undefined
    const converted = convert(value)
    if (!Number.isFinite(converted)) return remove(extracted, key)
    extracted.metrics[key] = converted
    return undefined
  }

/** What can be stored of a result; null and nothing are no metric. */
const metricOf = (value: unknown): MetricValue | undefined => {
  if (typeof value === "string") return storableText(value)
  const stored = storableJson(value)
  return stored === null ? undefined : (stored as MetricValue)
}

/** The worst of what an expression reads. */
const qualityOf = (extracted: Extracted, reads: ReadonlyArray<string>): Quality => {
  let worst: Quality = "good"
  for (const key of reads) {
    const quality = extracted.qualityOf(key)
    if (quality === "bad") return quality
    if (quality === "uncertain") worst = quality
  }
  return worst
}

const evaluating =
  (key: string, expression: ParsedExpression, path: string): Transform =>
  (extracted, evaluate) => {
    const evaluated = evaluate(expression, extracted.metrics)
    if (Result.isFailure(evaluated)) {
      const { failure } = evaluated
      const why =
        failure._tag === "ExpressionTimeout"
          ? `was stopped, since it took more than ${failure.limitMillis} ms or too much memory`
          : `failed: ${failure.message}`
      return new Poison({ reason: failure._tag, message: `The expression for the metric "${key}" ${why}`, path })
    }
    const value = metricOf(evaluated.success)
    if (value === undefined) return remove(extracted, key)
    const quality = qualityOf(extracted, expression.reads ?? Object.keys(extracted.metrics))
    delete extracted.quality[key]
    extracted.put(key, value, quality)
    return undefined
  }

type Rule = typeof Transformation.Type

class Compilation {
  readonly transforms: Array<Transform> = []
  readonly computed = new Set<string>()
  expressions = 0
  readonly config: DeviceTypeConfig
  readonly units: Map<string, string>
  readonly problems: Array<Problem>
  constructor(config: DeviceTypeConfig, units: Map<string, string>, problems: Array<Problem>) {
    this.config = config
    this.units = units
    this.problems = problems
  }

  unit({ metricKey: key, to }: Extract<Rule, { readonly kind: "unit" }>, path: string): void {
    const from = this.units.get(key)
    const { extractionRules } = this.config
    const type = Object.hasOwn(extractionRules, key) ? extractionRules[key]?.type : undefined
    if ((type !== "numeric" && !this.computed.has(key)) || from === undefined) {
      const message = `There is no numeric extraction rule with a unit for the metric "${key}" to convert from.`
      this.problems.push({ path: `${path}.metricKey`, message })
      return
    }
    const conversion = unitConversion(from, to)
    if (Result.isFailure(conversion)) this.problems.push({ path: `${path}.to`, message: conversion.failure })
    else {
      this.units.set(key, to)
      this.transforms.push(converting(key, conversion.success))
    }
  }

  expression({ expression, metricKey, unit }: Extract<Rule, { readonly kind: "expression" }>, path: string): void {
    if (++this.expressions === MAX_EXPRESSIONS + 1) {
      this.problems.push({ path, message: `There are more than ${MAX_EXPRESSIONS} expressions.` })
    }
    const parsed = parseExpression(expression)
    if (Result.isFailure(parsed)) {
      const { message, position } = parsed.failure
      this.problems.push({ path: `${path}.expression`, message: `At position ${position}: ${message}` })
      return
    }
    this.computed.add(metricKey)
    if (unit !== undefined) this.units.set(metricKey, unit)
    this.transforms.push(evaluating(metricKey, parsed.success, `${path}.expression`))
  }
}

/**
 * Compiles transformation rules; what is wrong with them is added to `problems`, what units their metrics have to `units`. Undefined
 * where there is nothing to do.
 */
export const compileTransformations = (
  config: DeviceTypeConfig,
  units: Map<string, string>,
  problems: Array<Problem>
): Transform | undefined => {
  const compilation = new Compilation(config, units, problems)
  config.transformationRules.forEach((rule, index) => {
    const path = `$.transformationRules[${index}]`
    if (rule.kind === "expression") compilation.expression(rule, path)
    else compilation.unit(rule, path)
  })
  const { transforms } = compilation
  if (transforms.length === 0) return undefined
  return (extracted, evaluate) => {
    for (const transform of transforms) {
      const failure = transform(extracted, evaluate)
      if (failure !== undefined) return failure
    }
    return undefined
  }
}
