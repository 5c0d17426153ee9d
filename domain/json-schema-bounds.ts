/**
 * What a tenant's JSON Schema may be, so that compiling it and checking a message against it cost a bounded time: size,
 * depth and the number of subschemas that its references expand to are limited, recursion and references to elsewhere refused.
 * @module
 */
import { Result } from "effect"
import { type Problem } from "./extract.ts"

const MAX_SCHEMA_UNITS = 65_536
const MAX_DEPTH = 32
const MAX_SUBSCHEMAS = 500 // a few thousand overflow the stack of the validator's code
const MAX_UNIQUE_ITEMS = 1_000

export type JsonObject = Readonly<Record<string, unknown>>
const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Keywords that compare with each of a list: ten comparisons count as a subschema. */
const comparing = new Set(["enum", "required"])
/** Keywords whose value is a schema, a list of schemas, or schemas by name; all others hold none. */
const inSchema = new Set([
  ..."additionalProperties unevaluatedProperties unevaluatedItems propertyNames items contains not if then else".split(
    " "
  ),
  "contentSchema"
])
const inList = new Set(["allOf", "anyOf", "oneOf", "prefixItems"])
const inNames = new Set(["properties", "patternProperties", "$defs", "definitions", "dependentSchemas"])
const refused = new Set([
  "$dynamicRef",
  "$dynamicAnchor",
  "$recursiveRef",
  "$recursiveAnchor",
  "$anchor",
  "$vocabulary"
])

const child = (path: string, key: string | number): string => `${path}[${JSON.stringify(key)}]`

/** What a local JSON pointer (`#/$defs/x`) leads to. */
const resolve = (root: JsonObject, reference: string): unknown => {
  let value: unknown = root
  for (const part of reference.split("/").slice(1)) {
    const key = decodeURIComponent(part).replaceAll("~1", "/").replaceAll("~0", "~")
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, key)) return undefined
    value = Reflect.get(value, key)
  }
  return value
}

/** Walks a schema with its references expanded, and counts: what it costs to compile and to run is bounded by that. */
class Bounds {
  readonly root: JsonObject
  readonly problems: Array<Problem>
  readonly sizes = new Map<object, number>()
  readonly open = new Set<object>()
  constructor(root: JsonObject, problems: Array<Problem>) {
    this.root = root
    this.problems = problems
  }

  problem(path: string, message: string): number {
    this.problems.push({ path, message })
    return 0
  }

  /** The number of subschemas in a schema, itself and what it refers to included. */
  size(schema: unknown, path: string, depth: number): number {
    if (!isObject(schema)) return 1
    const known = this.sizes.get(schema)
    if (known !== undefined) return known
    if (this.open.has(schema))
      return this.problem(path, "The schema refers to itself. Recursive schemas are not supported.")
    if (depth > MAX_DEPTH) return this.problem(path, `The schema is nested more than ${MAX_DEPTH} levels deep.`)
    this.open.add(schema)
    let size = 1
    for (const [key, value] of Object.entries(schema))
      size += this.keyword(schema, key, value, child(path, key), depth + 1)
    this.open.delete(schema)
    this.sizes.set(schema, size)
    return size
  }

  keyword(schema: JsonObject, key: string, value: unknown, path: string, depth: number): number {
    if (refused.has(key)) return this.problem(path, `"${key}" is not supported.`)
    if (key === "$id" && schema !== this.root) return this.problem(path, `"$id" is supported at the top only.`)
    if (key === "$ref") return this.reference(value, path, depth)
    if (key === "uniqueItems" && value === true && !(Number(schema["maxItems"]) <= MAX_UNIQUE_ITEMS)) {
      return this.problem(path, `"uniqueItems" needs a "maxItems" of at most ${MAX_UNIQUE_ITEMS} beside it.`)
    }
    if (comparing.has(key) && Array.isArray(value)) return Math.ceil(value.length / 10)
    if (inSchema.has(key)) return this.size(value, path, depth)
    if (inList.has(key) && Array.isArray(value)) {
      return value.reduce((sum: number, item, index) => sum + this.size(item, child(path, index), depth), 0)
    }
    if (inNames.has(key) && isObject(value)) {
      return Object.entries(value).reduce((sum, [name, item]) => sum + this.size(item, child(path, name), depth), 0)
    }
    return 0
  }

  reference(reference: unknown, path: string, depth: number): number {
    if (typeof reference !== "string" || (reference !== "#" && !reference.startsWith("#/"))) {
      return this.problem(path, "References must stay within the schema: #/$defs/….")
    }
    let target: unknown
    try {
      target = resolve(this.root, reference)
    } catch {
      target = undefined // a malformed percent escape
    }
    if (target === undefined) return this.problem(path, `The reference ${JSON.stringify(reference)} leads nowhere.`)
    return this.size(target, path, depth)
  }
}

const dialect = "https://json-schema.org/draft/2020-12/schema"

/** The number of subschemas, or what makes the schema one that is not compiled. */
export const boundedSize = (schema: JsonObject): Result.Result<number, ReadonlyArray<Problem>> => {
  const path = "$.messageSchema"
  if (JSON.stringify(schema).length > MAX_SCHEMA_UNITS) {
    return Result.fail([{ path, message: `The schema is longer than ${MAX_SCHEMA_UNITS} characters.` }])
  }
  const problems: Array<Problem> = []
  const named = schema["$schema"]
  if (named !== undefined && named !== dialect) {
    problems.push({ path: `${path}.$schema`, message: `Only JSON Schema 2020-12 is supported: ${dialect}.` })
  }
  const size = new Bounds(schema, problems).size(schema, path, 0)
  if (size > MAX_SUBSCHEMAS) {
    problems.push({ path, message: `The schema expands to ${size} subschemas, more than ${MAX_SUBSCHEMAS}.` })
  }
  return problems.length > 0 ? Result.fail(problems) : Result.succeed(size)
}
