/**
 * The contract's document as integrators read it: an example of every body, one tag per group, and of each operation only the
 * refusals that it can answer with.
 * @module
 */
import { type OpenApi } from "effect/http-api"
import { exampleOf, type JsonSchema, type Schemas } from "./examples.ts"

interface MediaType {
  readonly schema?: JsonSchema
  readonly example?: unknown
}
type Content = Readonly<Record<string, MediaType>>
interface Parameter {
  readonly name: string
  readonly in: string
  readonly schema: JsonSchema
}
interface Operation {
  readonly operationId: string
  readonly tags?: ReadonlyArray<string>
  readonly parameters?: ReadonlyArray<Parameter>
  readonly requestBody?: { readonly content: Content }
  readonly responses: Readonly<Record<string, { readonly description: string; readonly content?: Content }>>
  readonly security?: ReadonlyArray<object>
}
interface Document {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>
  readonly components: { readonly schemas: Schemas }
}

/** `deviceTypes` is `Device types`. */
const tagOf = (operationId: string): string => {
  const words = operationId.split(".")[0]!.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)
  return words[0]!.toUpperCase() + words.slice(1)
}

const withExamples = (content: Content, schemas: Schemas, isWhole: boolean): Content =>
  Object.fromEntries(
    Object.entries(content).map(([type, media]) => {
      if (media.schema === undefined || media.example !== undefined || !type.endsWith("json")) return [type, media]
      return [type, { ...media, example: exampleOf(media.schema, schemas, { isWhole }) }]
    })
  )

/** The text that carries a number says nothing of its bounds; people and generators need them. */
const numeric = (parameter: Parameter, path: string): Parameter => {
  if (parameter.schema.pattern?.startsWith("^[+-]?(?:\\d+") !== true) return parameter
  if (parameter.name !== "limit") return { ...parameter, schema: { type: "integer", minimum: 0 } }
  const maximum = /\/telemetry\/(?:device|asset)\//.test(path) ? 10_000 : 500
  return { ...parameter, schema: { type: "integer", minimum: 1, maximum } }
}

/** A list whose first items are like all others, said in the way that every tool understands. */
const withoutPrefix = (schema: object): object => {
  if (!("prefixItems" in schema) || !Array.isArray(schema.prefixItems)) return schema
  const { prefixItems, ...list } = schema
  const [first, ...others] = [...prefixItems, ...("items" in list && list.items !== false ? [list.items] : [])].map(
    (item) => JSON.stringify(item)
  )
  return others.every((other) => other === first) ? { ...list, items: prefixItems[0] } : schema
}

/** Unknown members of a body are left alone: what is documented is what is read. */
const simplified = (written: unknown): unknown => {
  if (Array.isArray(written)) return written.map(simplified)
  if (typeof written !== "object" || written === null) return written
  const value = withoutPrefix(written)
  return Object.fromEntries(
    Object.entries(value)
      .filter(([key, inner]) => key !== "additionalProperties" || inner !== false)
      .map(([key, inner]) => [key, key === "examples" || key === "example" ? inner : simplified(inner)])
  )
}

/** What the server answers before anybody has looked at what is asked for: without a body, and the connection is closed. */
const beforeReading = (hasBody: boolean) => ({
  ...(hasBody && { 408: { description: "The request did not arrive in time" } }),
  431: { description: "The address and the headers are longer than 16 KiB" }
})

/** Only of bodies. */
const bodyRefusals = new Set(["413", "415"])

const completed = (operation: Operation, path: string, schemas: Schemas): Operation => {
  const { requestBody } = operation
  const responses = Object.fromEntries(
    Object.entries(operation.responses)
      .filter(([status]) => requestBody !== undefined || !bodyRefusals.has(status))
      .map(([status, response]) => [
        status,
        response.content === undefined
          ? response
          : { ...response, content: withExamples(response.content, schemas, true) }
      ])
  )
  return {
    ...operation,
    tags: [tagOf(operation.operationId)],
    ...(operation.parameters !== undefined && { parameters: operation.parameters.map((one) => numeric(one, path)) }),
    ...(requestBody !== undefined && {
      requestBody: { ...requestBody, content: withExamples(requestBody.content, schemas, false) }
    }),
    responses: { ...responses, ...beforeReading(requestBody !== undefined) },
    security: operation.security ?? []
  }
}

/** For the annotation of the published API. */
export const completeDocument = (generated: object): OpenApi.OpenAPISpec => {
  const document = simplified(generated) as Document
  const { schemas } = document.components
  const paths = Object.fromEntries(
    Object.entries(document.paths).map(([path, item]) => [
      path,
      Object.fromEntries(Object.entries(item).map(([method, one]) => [method, completed(one, path, schemas)]))
    ])
  )
  const tags = new Set(
    Object.values(paths).flatMap((item) => Object.values(item).map(({ operationId }) => tagOf(operationId)))
  )
  return { ...document, paths, tags: [...tags].map((name) => ({ name })) } as unknown as OpenApi.OpenAPISpec
}
