/**
 * A device type's configuration, compiled once when it is loaded so that a message costs property reads and arithmetic.
 * @module
 */
import { Result, Schema } from "effect"
import { type DeviceTypeConfig } from "./device-type.ts"
import { compileExtraction, type Extracted, type Extractor, type Problem } from "./extract.ts"
import { compilePath, type PathReader } from "./json-path.ts"
import { compileMessageSchema, type SchemaCheck } from "./json-schema.ts"
import { unitConversion } from "./units.ts"

export interface CompiledDeviceType {
  readonly config: DeviceTypeConfig
  readonly checkSchema: SchemaCheck | undefined
  readonly extract: Extractor
  readonly timestampReaders: ReadonlyArray<PathReader> // the first present wins
  /** Changes the extracted metrics in place, in the order of the transformation rules. */
  readonly transform: ((extracted: Extracted) => void) | undefined
  /** The unit of each metric that has one, after the transformations. */
  readonly units: ReadonlyMap<string, string>
}

/** A configuration that cannot be used: everything that is wrong with it, by path. */
export class InvalidDeviceType extends Schema.TaggedError<InvalidDeviceType>()("InvalidDeviceType", {
  problems: Schema.NonEmptyArray(Schema.Struct({ path: Schema.String, message: Schema.String }))
}) {
  override get message(): string {
    return this.problems.map(({ message, path }) => `${path}: ${message}`).join("\n")
  }
}

interface Conversion {
  readonly key: string
  readonly convert: (value: number) => number
}

const compileTransformations = (
  config: DeviceTypeConfig,
  units: Map<string, string>,
  problems: Array<Problem>
): CompiledDeviceType["transform"] => {
  const conversions: Array<Conversion> = []
  config.transformationRules.forEach((rule, index) => {
    const path = `$.transformationRules[${index}]`
    if (rule.kind === "expression") {
      problems.push({
        path: `${path}.kind`,
        message: "Expressions are not supported by this version: use unit conversions."
      })
      return
    }
    const key = rule.metricKey
    const from = units.get(key)
    const type = Object.hasOwn(config.extractionRules, key) ? config.extractionRules[key]?.type : undefined
    if (type !== "numeric" || from === undefined) {
      const message = `There is no numeric extraction rule with a unit for the metric "${key}" to convert from.`
      problems.push({ path: `${path}.metricKey`, message })
      return
    }
    const conversion = unitConversion(from, rule.to)
    if (Result.isFailure(conversion)) problems.push({ path: `${path}.to`, message: conversion.failure })
    else {
      units.set(key, rule.to)
      conversions.push({ key, convert: conversion.success })
    }
  })
  if (conversions.length === 0) return undefined
  return (extracted) => {
    for (const { convert, key } of conversions) {
      const value = extracted.metrics[key]
      if (typeof value !== "number") continue
      const converted = convert(value)
      if (Number.isFinite(converted)) extracted.metrics[key] = converted
      else {
        delete extracted.metrics[key]
        delete extracted.quality[key]
        extracted.skipped++
      }
    }
  }
}

/**
 * Compiles a configuration for use on messages, or reports everything in it that this version cannot do. Run before a version
 * is published, and when a published one is loaded.
 */
export const compileDeviceType = (config: DeviceTypeConfig): Result.Result<CompiledDeviceType, InvalidDeviceType> => {
  const problems: Array<Problem> = []
  if (config.protocolAdapter !== "json") {
    const name = typeof config.protocolAdapter === "string" ? `"${config.protocolAdapter}"` : "of a protocol converter"
    const message = `The protocol adapter ${name} is not supported by this version: use "json".`
    problems.push({ path: "$.protocolAdapter", message })
  }
  const extract = compileExtraction(config.extractionRules, problems)
  const timestampReaders: Array<PathReader> = []
  config.timestamp.path.forEach((path, index) => {
    const reader = compilePath(path)
    const where = `$.timestamp.path[${index}]`
    if (Result.isFailure(reader)) problems.push({ path: where, message: reader.failure })
    else if (reader.success.searches)
      problems.push({ path: where, message: "It must name one value: no .., * or slices." })
    else timestampReaders.push(reader.success.read)
  })
  for (const field of ["maxAheadSeconds", "maxBehindSeconds"] as const) {
    if (config.timestamp[field] < 0) problems.push({ path: `$.timestamp.${field}`, message: "It may not be negative." })
  }
  const units = new Map<string, string>()
  for (const [key, rule] of Object.entries(config.extractionRules))
    if (rule.unit !== undefined) units.set(key, rule.unit)
  const transform = compileTransformations(config, units, problems)
  let checkSchema: SchemaCheck | undefined
  if (config.messageSchema !== undefined) {
    const schema = compileMessageSchema(config.messageSchema)
    if (Result.isSuccess(schema)) checkSchema = schema.success
    else problems.push(...schema.failure)
  }
  const [first, ...others] = problems
  if (first !== undefined) return Result.fail(new InvalidDeviceType({ problems: [first, ...others] }))
  return Result.succeed({ config, checkSchema, extract, timestampReaders, transform, units })
}
