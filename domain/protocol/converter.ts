/**
 * Protocol converters: how the bytes of a protocol that is not the platform's own become a document, said in that protocol's
 * words once for many device types. A converter comes to one of the adapters, and a published version of a device type keeps a
 * copy of it.
 * @module
 */
import { Result, Schema } from "effect"
import { type Problem } from "../extract.ts"
import { MetricKey, orElse } from "../ids.ts"
import { BinaryField, BytesSource, type ConverterCopy, OwnAdapter } from "./adapter.ts"
import { compileAdapter } from "./compile.ts"
import { type Decoder } from "./decoder.ts"

const some = Schema.isMaxLength(1_000)
const oneOrMore = Schema.Union([Schema.NonEmptyString, Schema.NonEmptyArray(Schema.NonEmptyString)])
/** Refused until expressions can run contained; named here so that nobody takes one that is not run for one that is. */
const expression = Schema.optionalKey(Schema.String)
const { bit, bits, length, optional, scale, type, valueOffset, wordSwapped } = BinaryField.fields

/** A block of holding or input registers as a gateway sends it, two bytes each, the high one first. */
export const ModbusRules = Schema.Struct({
  source: BytesSource.pipe(Schema.withDecodingDefaultKey(orElse({}))),
  firstRegister: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 })).pipe(
    Schema.withDecodingDefaultKey(orElse(0))
  ), // the number of the block's first register
  registers: Schema.Array(
    Schema.Struct({
      name: MetricKey,
      register: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 65_535 })),
      type,
      wordSwapped,
      length,
      bit,
      bits,
      scale,
      valueOffset,
      optional,
      expression
    })
  ).check(Schema.isMinLength(1), some)
})
/** Nodes by id, in the JSON of a PubSub publisher unless the paths say otherwise. */
export const OpcuaRules = Schema.Struct({
  messagesPath: Schema.NullOr(Schema.NonEmptyString).pipe(Schema.withDecodingDefaultKey(orElse("$.Messages"))), // null: one message
  nodesPath: Schema.NonEmptyString.pipe(Schema.withDecodingDefaultKey(orElse("$.Payload"))), // an object by node, or an array
  idPath: Schema.optionalKey(oneOrMore), // in an array's item
  valuePath: oneOrMore.pipe(Schema.withDecodingDefaultKey(orElse(["$.Value.Body", "$.Value", "$.Body"]))),
  nodes: Schema.Array(Schema.Struct({ name: MetricKey, node: Schema.NonEmptyString, expression })).check(
    Schema.isMinLength(1),
    some
  )
})
/** Objects by type and instance, in the JSON of a gateway: an array of objects unless the paths say otherwise. */
export const BacnetRules = Schema.Struct({
  objectsPath: Schema.NonEmptyString.pipe(Schema.withDecodingDefaultKey(orElse("$.objects"))),
  idPath: oneOrMore.pipe(Schema.withDecodingDefaultKey(orElse(["$.objectType", "$.instance"]))), // in an array's item
  valuePath: oneOrMore.pipe(Schema.withDecodingDefaultKey(orElse("$.presentValue"))),
  objects: Schema.Array(Schema.Struct({ name: MetricKey, object: Schema.NonEmptyString, expression })).check(
    Schema.isMinLength(1),
    some
  )
})
/** Any adapter, for what has no protocol of the others. */
export const RawRules = Schema.Struct({ adapter: OwnAdapter, expression })

const targetSchema = Schema.NullOr(Schema.JsonObject) // of the document; null: any
const contentOf = <P extends string, R extends Schema.Constraint>(protocol: P, transformationRules: R) => ({
  sourceProtocol: Schema.Literal(protocol),
  targetSchema: targetSchema.pipe(Schema.withDecodingDefaultKey(orElse(null))),
  transformationRules
})
export const modbusContent = contentOf("modbus", ModbusRules)
export const opcuaContent = contentOf("opcua", OpcuaRules)
export const bacnetContent = contentOf("bacnet", BacnetRules)
export const rawContent = contentOf("raw", RawRules)

export const ConverterContent = Schema.Union([
  Schema.Struct(modbusContent),
  Schema.Struct(opcuaContent),
  Schema.Struct(bacnetContent),
  Schema.Struct(rawContent)
])
export type ConverterContent = typeof ConverterContent.Type
export type SourceProtocol = ConverterContent["sourceProtocol"]

const adapterOf = (content: ConverterContent): typeof OwnAdapter.Type => {
  switch (content.sourceProtocol) {
    case "modbus": {
      const { firstRegister, registers, source } = content.transformationRules
      const fields = registers.map((rule) => {
        const { expression: _, register, ...layout } = rule
        return { ...layout, endianness: "big" as const, offset: (register - firstRegister) * 2 }
      })
      return { kind: "binary", source, fields }
    }
    case "opcua": {
      const { idPath, messagesPath, nodes, nodesPath, valuePath } = content.transformationRules
      return {
        kind: "keyed",
        ...(messagesPath !== null && { groupsPath: messagesPath }),
        entriesPath: nodesPath,
        ...(idPath !== undefined && { idPath }),
        valuePath,
        fields: nodes.map(({ name, node }) => ({ name, id: node }))
      }
    }
    case "bacnet": {
      const { idPath, objects, objectsPath, valuePath } = content.transformationRules
      const fields = objects.map(({ name, object }) => ({ name, id: object }))
      return { kind: "keyed", entriesPath: objectsPath, idPath, valuePath, fields }
    }
    case "raw":
      return content.transformationRules.adapter
  }
}

const noExpressions = "Expressions are not supported by this version: use scale and valueOffset, or unit conversions."

/** What the parts of an adapter are called in the rules that it came from. */
const ruleNames: Readonly<Record<SourceProtocol, Readonly<Record<string, string>>>> = {
  modbus: { fields: "registers" },
  opcua: { groupsPath: "messagesPath", entriesPath: "nodesPath", fields: "nodes" },
  bacnet: { entriesPath: "objectsPath", fields: "objects" },
  raw: {}
}

/** From a path within a copy to that within its converter. */
const pathInConverter = (path: string, { sourceProtocol }: ConverterContent): string => {
  const inner = path.replace("$.protocolAdapter", "")
  if (inner.startsWith(".targetSchema")) return inner.slice(1)
  const rules = sourceProtocol === "raw" ? "transformationRules.adapter" : "transformationRules"
  return rules + inner.replace(/^\.(\w+)/, (_, name: string) => `.${ruleNames[sourceProtocol][name] ?? name}`)
}

/** What an adapter cannot say of the rules that it comes from. */
const ruleProblems = (content: ConverterContent): ReadonlyArray<Problem> => {
  const rules = content.transformationRules
  const problems: Array<Problem> = []
  const refuseExpressions = (list: ReadonlyArray<{ readonly expression?: string }>, at: (index: number) => string) => {
    list.forEach((rule, index) => {
      if (rule.expression !== undefined) problems.push({ path: `${at(index)}.expression`, message: noExpressions })
    })
  }
  if ("nodes" in rules) refuseExpressions(rules.nodes, (index) => `transformationRules.nodes[${index}]`)
  else if ("objects" in rules) refuseExpressions(rules.objects, (index) => `transformationRules.objects[${index}]`)
  else if ("adapter" in rules) refuseExpressions([rules], () => "transformationRules")
  else {
    refuseExpressions(rules.registers, (index) => `transformationRules.registers[${index}]`)
    rules.registers.forEach(({ register }, index) => {
      if (register >= rules.firstRegister) return
      const message = `It lies before the first register, ${rules.firstRegister}.`
      problems.push({ path: `transformationRules.registers[${index}].register`, message })
    })
  }
  return problems
}

/** What a converter comes to, with its decoder; or everything that is wrong with it, by path within the converter. */
export const compileConverter = (
  content: ConverterContent,
  version: number
): Result.Result<{ readonly copy: typeof ConverterCopy.Type; readonly decoder: Decoder }, ReadonlyArray<Problem>> => {
  const copy = {
    version,
    adapter: adapterOf(content),
    ...(content.targetSchema !== null && { targetSchema: content.targetSchema })
  }
  const inCopy: Array<Problem> = []
  const decoder = compileAdapter({ converterId: "", copy }, inCopy)
  const problems = [
    ...ruleProblems(content),
    ...inCopy.map(({ message, path }) => ({ path: pathInConverter(path, content), message }))
  ]
  return problems.length > 0 ? Result.fail(problems) : Result.succeed({ copy, decoder })
}
