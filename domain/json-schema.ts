/**
 * Message schemas: JSON Schema 2020-12, written by tenants and therefore bounded before they are compiled.
 *
 * The validator (ajv) makes JavaScript of a schema. It writes every name and value of the schema as an escaped literal, so
 * a schema cannot become code; `$data` references, coercion and defaults are off, no schema is fetched, and each is compiled
 * in an instance of its own so that none can refer to another. A schema can still be made to cost time: so its size, depth
 * and the number of subschemas that its references expand to are bounded, recursion and `$dynamicRef` are refused,
 * `uniqueItems` needs a small `maxItems`, and `pattern` runs in linear time (RE2 syntax: no lookaround, no backreferences)
 * on text of up to 10,000 units; longer text matches no pattern. The larger a schema, the smaller the messages it may be
 * checked on. `format` is an annotation, as the specification has it.
 * @module
 */
import { Ajv2020, type ValidateFunction } from "ajv/dist/2020.js"
import { RE2JS } from "re2js"
import { Result } from "effect"
import { Poison } from "./errors.ts"
import { type Problem } from "./extract.ts"
import { boundedSize, type JsonObject } from "./json-schema-bounds.ts"
import { storableText } from "./storable.ts"

const MAX_WORK = 50_000_000 // subschemas × bytes of the message: about a second
const MAX_MATCHED_UNITS = 10_000

/** A linear-time regular expression for the validator, in place of `new RegExp(pattern, flags)`. */
const linearPattern = Object.assign(
  (pattern: string) => {
    const compiled = RE2JS.compile(pattern)
    return {
      test: (text: string) => text.length <= MAX_MATCHED_UNITS && compiled.test(text),
      toString: () => pattern // the validator keeps one expression for each
    }
  },
  { code: "linearPattern" } // where a standalone module would find it; schemas are never compiled to one
)

let metaschema: Ajv2020 | undefined

/** Returns what is wrong with a message of so many bytes, undefined when it matches. */
export type SchemaCheck = (message: unknown, bytes: number) => Poison | undefined

const mismatch = (validate: ValidateFunction): Poison => {
  const error = validate.errors?.[0]
  const path = storableText(error?.instancePath ?? "").slice(0, 500)
  const extra: unknown = error?.params["additionalProperty"] ?? error?.params["unevaluatedProperty"]
  const named = typeof extra === "string" ? ` (${JSON.stringify(extra.slice(0, 100))})` : ""
  const what = `${(error?.message ?? "invalid").slice(0, 500)}${named}`
  const message = `The message does not match its schema at ${path === "" ? "its top" : path}: ${what}.`
  return new Poison({ reason: "SchemaMismatch", message: storableText(message), path })
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).slice(0, 500)

/** Compiles a message schema, or says what is wrong with it. */
export const compileMessageSchema = (schema: JsonObject): Result.Result<SchemaCheck, ReadonlyArray<Problem>> => {
  const size = boundedSize(schema)
  if (Result.isFailure(size)) return Result.fail(size.failure)
  const maxBytes = Math.floor(MAX_WORK / size.success)
  metaschema ??= new Ajv2020({ strict: false, logger: false })
  if (metaschema.validateSchema(schema) !== true) {
    const error = metaschema.errors?.[0]
    const path = `$.messageSchema${error?.instancePath ?? ""}`
    return Result.fail([{ path, message: `This is not valid JSON Schema: ${error?.message ?? "invalid"}.` }])
  }
  const ajv = new Ajv2020({
    meta: false,
    validateSchema: false,
    strictSchema: true, // a misspelt keyword is an error
    strictNumbers: true,
    strictTypes: false,
    strictTuples: false,
    strictRequired: false,
    validateFormats: false,
    inlineRefs: false,
    addUsedSchema: false,
    logger: false,
    code: { regExp: linearPattern }
  })
  let validate: ValidateFunction
  try {
    validate = ajv.compile(schema)
  } catch (error) {
    return Result.fail([{ path: "$.messageSchema", message: `The schema cannot be compiled: ${messageOf(error)}.` }])
  }
  return Result.succeed((message, bytes) => {
    if (bytes > maxBytes) {
      const why = `The schema is too large to be checked on a message of more than ${maxBytes} bytes`
      return new Poison({ reason: "SchemaMismatch", message: `${why}; this one has ${bytes}.`, limit: maxBytes })
    }
    try {
      return validate(message) ? undefined : mismatch(validate)
    } catch (error) {
      return new Poison({ reason: "SchemaMismatch", message: `The schema cannot be checked: ${messageOf(error)}.` })
    }
  })
}
