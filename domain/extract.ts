/**
 * From a parsed message to metrics, by a device type's extraction rules compiled once, or without rules by what it holds.
 *
 * What each type takes; anything else is of the wrong type, and null counts as absent:
 * - numeric: finite numbers, and text that is a decimal number (`"23.5"`, `"-1e3"`, spaces around it allowed);
 * - boolean: true, false, 0, 1, `"true"`, `"false"`;
 * - text: text, and finite numbers and booleans as JSON writes them;
 * - json: any value.
 *
 * A required metric that is absent, of the wrong type or infinite fails the message; another one is skipped and counted.
 * @module
 */
import { Result, type Schema } from "effect"
import { type ExtractionRule } from "./device-type.ts"
import { Poison } from "./errors.ts"
import { compilePath, type PathReader } from "./json-path.ts"
import { linear } from "./linear.ts"
import { type MetricValue, type Quality } from "./readings.ts"
import { isMetricKey, storableJson, storableText } from "./storable.ts"

const MAX_PATHS = 5_000
const MAX_SEARCHES = 16 // each walks the whole message when it finds nothing

type Rule = typeof ExtractionRule.Type

/** The metrics taken from one message so far. `quality` has only the keys that are not good. */
export class Extracted {
  readonly metrics: Record<string, MetricValue> = {}
  readonly quality: Record<string, Quality> = {}
  skipped = 0

  put(key: string, value: MetricValue, quality: Quality): void {
    this.metrics[key] = value
    if (quality !== "good") this.quality[key] = quality
  }
  qualityOf(key: string): Quality {
    return Object.hasOwn(this.quality, key) ? this.quality[key]! : "good"
  }
  /** Makes uncertain what is good. */
  doubt(): void {
    for (const key of Object.keys(this.metrics)) if (this.qualityOf(key) === "good") this.quality[key] = "uncertain"
  }
}

/** Takes what it can from a message; what fails it altogether is returned. */
export type Extractor = (root: unknown, into: Extracted) => Poison | undefined

/** Puts a value under a key, or returns false when it is of the wrong type. */
type Take = (value: unknown, into: Extracted) => boolean

const decimal = /^\s{0,8}[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\s{0,8}$/

const numberOf = (value: unknown): number =>
  typeof value === "number"
    ? value
    : typeof value === "string" && value.length <= 400 && decimal.test(value)
      ? Number(value)
      : Number.NaN

const takeNumeric = (key: string, { scale = 1, offset = 0, min = -Infinity, max = Infinity }: Rule): Take => {
  const scaled = scale === 1 && offset === 0 ? undefined : linear(scale, offset)
  return (value, into) => {
    const number = scaled === undefined ? numberOf(value) : scaled(numberOf(value))
    if (!Number.isFinite(number)) return false
    into.put(key, number, number < min || number > max ? "bad" : "good")
    return true
  }
}

const takeBoolean =
  (key: string): Take =>
  (value, into) => {
    const truth = value === true || value === 1 || value === "true"
    if (!truth && value !== false && value !== 0 && value !== "false") return false
    into.put(key, truth, "good")
    return true
  }

const takeText =
  (key: string): Take =>
  (value, into) => {
    if (typeof value === "string") {
      const text = storableText(value)
      into.put(key, text, text === value ? "good" : "uncertain")
      return true
    }
    if (typeof value !== "boolean" && !(typeof value === "number" && Number.isFinite(value))) return false
    into.put(key, String(value), "good")
    return true
  }

const takeJson =
  (key: string): Take =>
  (value, into) => {
    const stored = storableJson(value)
    if (stored === null) return false
    into.put(key, stored as Exclude<Schema.Json, null>, stored === value ? "good" : "uncertain")
    return true
  }

const takers = { numeric: takeNumeric, boolean: takeBoolean, text: takeText, json: takeJson }

/** One rule, ready to run: the alternatives in order, the first that is present wins. */
interface CompiledRule {
  readonly key: string
  readonly type: Rule["type"]
  readonly required: boolean
  readonly paths: ReadonlyArray<string>
  readonly readers: ReadonlyArray<PathReader>
  readonly searches: number
  readonly take: Take
}

const failed = (rule: CompiledRule, found: boolean): Poison => {
  const paths = rule.paths.join(", ")
  const what = found ? `what is there is not ${rule.type}` : "nothing is there"
  return new Poison({
    reason: "ExtractionFailed",
    message: `The rule for metric "${rule.key}" requires a value at ${paths}, but ${what}.`,
    path: paths
  })
}

const rulesExtractor =
  (rules: ReadonlyArray<CompiledRule>): Extractor =>
  (root, into) => {
    for (const rule of rules) {
      let value: unknown
      for (const read of rule.readers) {
        value = read(root)
        if (value !== undefined) break
      }
      if (value !== undefined && rule.take(value, into)) continue
      if (rule.required) return failed(rule, value !== undefined)
      into.skipped++
    }
    return undefined
  }

const envelopeKeys: ReadonlySet<string> = new Set(["deviceId", "ts", "timestamp", "messageId", "metadata"])

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Each scalar under `metrics`, else at the top level but for the envelope's own keys; what is no scalar is skipped. */
const scalarsExtractor: Extractor = (root, into) => {
  if (!isObject(root)) {
    return new Poison({
      reason: "ExtractionFailed",
      message: "Without extraction rules a message must be a JSON object. Give the device type rules.",
      path: "$"
    })
  }
  const nested = Object.hasOwn(root, "metrics") && isObject(root["metrics"]) ? root["metrics"] : undefined
  const source = nested ?? root
  for (const key of Object.keys(source)) {
    if (nested === undefined && envelopeKeys.has(key)) continue
    const value = source[key]
    const storable = typeof value === "number" ? Number.isFinite(value) : typeof value === "boolean"
    if (!isMetricKey(key)) into.skipped++
    else if (typeof value === "string") {
      const text = storableText(value)
      into.put(key, text, text === value ? "good" : "uncertain")
    } else if (storable) into.put(key, value as number | boolean, "good")
    else into.skipped++
  }
  return undefined
}

/** Something wrong in a configuration: where, as a JSONPath into it, and what. */
export interface Problem {
  readonly path: string
  readonly message: string
}

const compileRule = (key: string, rule: Rule, problems: Array<Problem>): CompiledRule => {
  const where = `$.extractionRules[${JSON.stringify(key)}]`
  const paths = typeof rule.path === "string" ? [rule.path] : rule.path
  const readers: Array<PathReader> = []
  let searches = 0
  for (const path of paths) {
    const reader = compilePath(path, rule.type === "json")
    if (Result.isSuccess(reader)) {
      readers.push(reader.success.read)
      if (reader.success.searches) searches++
    } else problems.push({ path: `${where}.path`, message: reader.failure })
  }
  if (!isMetricKey(key)) problems.push({ path: where, message: "This is no name for a metric." })
  if (rule.min !== undefined && rule.max !== undefined && rule.min > rule.max) {
    problems.push({ path: `${where}.min`, message: `The minimum ${rule.min} is above the maximum ${rule.max}.` })
  }
  for (const field of ["scale", "offset", "min", "max"] as const) {
    if (rule[field] !== undefined && rule.type !== "numeric") {
      problems.push({ path: `${where}.${field}`, message: `Only numeric metrics have a ${field}.` })
    }
  }
  return { key, type: rule.type, required: rule.required, paths, readers, searches, take: takers[rule.type](key, rule) }
}

/** Compiles extraction rules; what is wrong with them is added to `problems`. */
export const compileExtraction = (rules: Readonly<Record<string, Rule>>, problems: Array<Problem>): Extractor => {
  const compiled = Object.entries(rules).map(([key, rule]) => compileRule(key, rule, problems))
  const paths = compiled.reduce((sum, rule) => sum + rule.paths.length, 0)
  const searches = compiled.reduce((sum, rule) => sum + rule.searches, 0)
  const path = "$.extractionRules"
  if (paths > MAX_PATHS) problems.push({ path, message: `The rules have ${paths} paths, more than ${MAX_PATHS}.` })
  if (searches > MAX_SEARCHES) {
    const message = `The rules have ${searches} paths that search (.., *, slices), more than ${MAX_SEARCHES}.`
    problems.push({ path, message })
  }
  return compiled.length === 0 ? scalarsExtractor : rulesExtractor(compiled)
}
