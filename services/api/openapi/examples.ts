/**
 * Examples made of JSON Schemas: what a schema gives as its own example, else a value of it that reads like a real one.
 * @module
 */

/** The part of JSON Schema that the contract is written in. */
export interface JsonSchema {
  readonly $ref?: string
  readonly type?: string | ReadonlyArray<string>
  readonly const?: unknown
  readonly enum?: ReadonlyArray<unknown>
  readonly examples?: ReadonlyArray<unknown>
  readonly anyOf?: ReadonlyArray<JsonSchema>
  readonly oneOf?: ReadonlyArray<JsonSchema>
  readonly allOf?: ReadonlyArray<JsonSchema>
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly required?: ReadonlyArray<string>
  readonly additionalProperties?: JsonSchema | boolean
  readonly items?: JsonSchema | boolean
  readonly prefixItems?: ReadonlyArray<JsonSchema>
  readonly minItems?: number
  readonly format?: string
  readonly pattern?: string
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  readonly maxLength?: number
}
export type Schemas = Readonly<Record<string, JsonSchema>>

const anId = "01890a5d-ac96-774b-bcce-b302099a8057"
const anInstant = "2026-01-31T08:00:00.000Z"
/** Of what ends a span of time, or comes after something else. */
const aLaterInstant = "2026-02-01T08:00:00.000Z"
/** What has to lie ahead, whenever the example is sent. */
const anInstantToCome = "2096-01-01T08:00:00.000Z"
const isLater = /^(?:to|.*(?:[eE]nd|Until|expires|completed|updated|closed|resolved).*)$/

/** Texts that a name alone says enough of. */
const texts: Readonly<Record<string, string>> = {
  name: "Boiler 3",
  displayName: "Temperature",
  description: "Heats the east wing",
  email: "ada@example.com",
  externalId: "boiler-3",
  serialNumber: "B3-2024",
  logicalIdentifier: "probe-1",
  protocol: "mqtt",
  metricKey: "temperature",
  topic: "telemetry.raw.v1",
  group: "argusiq.normalizer",
  stage: "normalizer",
  reason: "ExtractionFailed",
  path: "name",
  message: "must not be blank",
  keyPrefix: "aiq_1a2b",
  unit: "Cel",
  localTime: "08:00",
  timeZone: "Europe/Berlin",
  startsOn: "2026-02-01",
  url: "https://hooks.example.com/argusiq",
  color: "#2f6fed",
  icon: "flame",
  sha256: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  mediaType: "application/pdf",
  contentType: "application/json",
  correlationId: "7f3a",
  requestId: "0f9c1f5e-6a52-4f0e-9a59-3f2f5f1f7c11",
  detail: "There is no such device."
}
const numbers: Readonly<Record<string, number>> = {
  healthScore: 87.5,
  value: 21.5,
  lat: 52.52,
  lon: 13.405,
  warningThreshold: 8,
  criticalThreshold: 12,
  size: 128,
  version: 3
}

const resolve = (schema: JsonSchema, schemas: Schemas): JsonSchema =>
  schema.$ref === undefined ? schema : (schemas[schema.$ref.split("/").at(-1)!] ?? {})

const textOf = ({ format, maxLength = Infinity, pattern }: JsonSchema, name: string): string => {
  if (format === "uuid") return anId
  if (format === "date-time" && name === "expiresAt") return anInstantToCome
  if (format === "date-time") return isLater.test(name) ? aLaterInstant : anInstant
  const candidates = [
    texts[name],
    "text",
    "42",
    "1",
    "2026-02-01",
    "08:00",
    "https://example.com",
    "#2f6fed",
    "AAAA",
    ""
  ]
  const matches = pattern === undefined ? () => true : (text: string) => new RegExp(pattern, "u").test(text)
  return candidates.find((text) => text !== undefined && text.length <= maxLength && matches(text)) ?? ""
}

const numberOf = ({ exclusiveMinimum, maximum = Infinity, minimum }: JsonSchema, name: string): number => {
  const least = minimum ?? (exclusiveMinimum === undefined ? undefined : exclusiveMinimum + 1)
  const usual = numbers[name] ?? 1
  return usual >= (least ?? -Infinity) && usual <= maximum ? usual : (least ?? Math.min(usual, maximum))
}

/** Deeper than this values are as small as their schemas allow. */
const DEEP = 5

/**
 * @param name of the property that the value is for.
 * @param isWhole with the members too that may be left out, as in an answer.
 */
export const exampleOf = (
  written: JsonSchema,
  schemas: Schemas,
  { depth = 0, isWhole, name = "" }: { readonly isWhole: boolean; readonly name?: string; readonly depth?: number }
): unknown => {
  const schema = resolve(written, schemas)
  if (schema.examples?.[0] !== undefined) return schema.examples[0]
  if ("const" in schema) return schema.const
  if (schema.enum !== undefined) return schema.enum[0]
  const inner = (part: JsonSchema, of: string) =>
    exampleOf(part, schemas, { isWhole: isWhole && depth < DEEP, name: of, depth: depth + 1 })
  const choices = schema.anyOf ?? schema.oneOf
  if (choices !== undefined) {
    const isNull = (choice: JsonSchema) => resolve(choice, schemas).type === "null"
    const sought = depth > DEEP ? choices.find(isNull) : choices.find((choice) => !isNull(choice))
    return exampleOf(sought ?? choices[0] ?? {}, schemas, { isWhole, name, depth: depth + 1 })
  }
  const type = Array.isArray(schema.type) ? schema.type[0] : schema.type
  switch (type) {
    case "object": {
      const { additionalProperties, properties = {}, required = [] } = schema
      const members = Object.entries(properties).filter(([key]) => isWhole || required.includes(key))
      const shown = members.length > 0 || isWhole ? members : Object.entries(properties).slice(0, 1)
      const object = Object.fromEntries(shown.map(([key, part]) => [key, inner(part, key)]))
      const isMap = typeof additionalProperties === "object" && Object.keys(properties).length === 0
      return isMap && depth < DEEP ? { temperature: inner(additionalProperties, "temperature") } : object
    }
    case "array": {
      if (schema.prefixItems !== undefined) return schema.prefixItems.map((part) => inner(part, name))
      if (typeof schema.items !== "object" || (depth > DEEP && (schema.minItems ?? 0) === 0)) return []
      return Array.from({ length: Math.max(1, schema.minItems ?? 0) }, () => inner(schema.items as JsonSchema, name))
    }
    case "string":
      return textOf(Object.assign({}, ...(schema.allOf ?? []), schema), name)
    case "number":
    case "integer":
      return numberOf(Object.assign({}, ...(schema.allOf ?? []), schema), name)
    case "boolean":
      return true
    case "null":
      return null
    default:
      return schema.allOf?.[0] === undefined ? {} : inner(Object.assign({}, ...schema.allOf), name)
  }
}
