import { compileConverter, ConverterContent } from "@argusiq/domain/protocol/converter.ts"
import { structureLimits } from "@argusiq/domain/scan.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { document, hex, problemsWith, refusal, utf8 } from "./decoding.ts"

const contentOf = (sourceProtocol: string, transformationRules: object, targetSchema?: object) =>
  Schema.decodeUnknownSync(ConverterContent)({
    sourceProtocol,
    transformationRules,
    ...(targetSchema !== undefined && { targetSchema })
  })

const converted = (content: ConverterContent, payload: Uint8Array) =>
  Result.map(
    Result.getOrThrow(compileConverter(content, 1)).decoder.decode(payload, structureLimits),
    ({ root }) => root
  )
const documentOf = (...parameters: Parameters<typeof converted>) => Result.getOrThrow(converted(...parameters))
const pathsOf = (content: ConverterContent) =>
  Result.getOrThrow(Result.flip(compileConverter(content, 1))).map(({ path }) => path)

describe("a converter", () => {
  it("of Modbus reads registers by their numbers, the high byte first", () => {
    const meter = contentOf("modbus", {
      firstRegister: 100,
      registers: [
        { name: "voltage", register: 100, type: "uint16", scale: 0.5 },
        { name: "power", register: 101, type: "float32", wordSwapped: true },
        { name: "alarm", register: 103, type: "uint16", bit: 3 },
        { name: "later", register: 110, type: "int16", optional: true }
      ]
    })
    assert.deepStrictEqual(documentOf(meter, hex("01cd 0000 41ac 0008")), { voltage: 230.5, power: 21.5, alarm: true })
    const short = Result.getOrThrow(Result.flip(converted(meter, hex("08fe 0000"))))
    assert.deepStrictEqual([short.reason, short.path], ["Undecodable", "power"])
  })

  it("of OPC UA reads the nodes of a publisher's messages, wrapped or bare", () => {
    const publisher = contentOf("opcua", {
      nodes: [
        { name: "temperature", node: "ns=2;s=Temp" },
        { name: "running", node: "Running" },
        { name: "count", node: "Count" }
      ]
    })
    const sent = {
      MessageType: "ua-data",
      Messages: [
        { Payload: { "ns=2;s=Temp": { Value: { Type: 10, Body: 20 } }, Running: true, Unknown: 1 } },
        { Payload: { "ns=2;s=Temp": { Value: 21.5, StatusCode: 0 }, Count: { Type: 6, Body: 3 } } }
      ]
    }
    const read = documentOf(publisher, utf8(JSON.stringify(sent)))
    assert.deepStrictEqual(read, { ...sent, decoded: { temperature: 21.5, running: true, count: 3 } })
  })

  it("of BACnet reads objects by type and instance, in a list or as keys", () => {
    const objects = [{ name: "supply", object: "analog-input,1" }]
    const listed = {
      objects: [
        { objectType: "analog-input", instance: 2, presentValue: 1 },
        { objectType: "analog-input", instance: 1, presentValue: 18.25 },
        "noise"
      ]
    }
    const read = documentOf(contentOf("bacnet", { objects }), utf8(JSON.stringify(listed)))
    assert.deepStrictEqual((read as typeof listed & { decoded: object }).decoded, { supply: 18.25 })
    const keyed = { "analog-input,1": { presentValue: 4 } }
    const atRoot = contentOf("bacnet", { objects, objectsPath: "$" })
    assert.deepInclude(documentOf(atRoot, utf8(JSON.stringify(keyed))), { decoded: { supply: 4 } })
  })

  it("of raw bytes is any adapter", () => {
    const csv = contentOf("raw", { adapter: { kind: "csv", delimiter: ";", columns: ["a"] } })
    assert.deepStrictEqual(documentOf(csv, utf8("7")), { a: 7 })
  })

  it("refuses documents that are not as its target schema says", () => {
    const schema = { type: "object", required: ["b"] }
    const checked = contentOf("raw", { adapter: { kind: "csv", columns: ["a"] } }, schema)
    assert.strictEqual(Result.getOrThrow(Result.flip(converted(checked, utf8("7")))).reason, "SchemaMismatch")
    const broken = contentOf("raw", { adapter: "json" }, { type: "nothing" })
    assert.deepStrictEqual([...new Set(pathsOf(broken))], ["targetSchema"])
  })

  it("says what is wrong with it by path, expressions among it", () => {
    const registers = [
      { name: "a", register: 3, type: "text" },
      { name: "b", register: 9, type: "uint16", expression: "$value / 10" }
    ]
    assert.sameMembers(pathsOf(contentOf("modbus", { firstRegister: 5, registers })), [
      "transformationRules.registers[0].register",
      "transformationRules.registers[1].expression",
      "transformationRules.registers[0]"
    ])
    assert.deepStrictEqual(pathsOf(contentOf("raw", { adapter: "json", expression: "payload" })), [
      "transformationRules.expression"
    ])
    const bacnet = { objectsPath: "$.[", objects: [{ name: "a", object: "x" }] }
    assert.deepStrictEqual(pathsOf(contentOf("bacnet", bacnet)), ["transformationRules.objectsPath"])
  })
})

describe("values named by ids", () => {
  const adapter = { kind: "keyed", entriesPath: "$.values", fields: [{ name: "t", id: "temp" }] }

  it("are those of the last entry, absent where an entry holds none", () => {
    const listed = { ...adapter, idPath: "$.id", valuePath: "$.v" }
    const sent = (...values: ReadonlyArray<object>) => utf8(JSON.stringify({ values }))
    const read = document(listed, sent({ id: "temp", v: 1 }, { id: "temp", v: 2 }, { id: "other", v: 3 }))
    assert.deepInclude(read, { decoded: { t: 2 } })
    assert.deepInclude(document(listed, sent({ id: "temp" })), { decoded: {} })
    assert.deepInclude(document(adapter, utf8('{"values":{"temp":5,"__proto__":1}}')), { decoded: { t: 5 } })
  })

  it("must be where the adapter says, and each id be named once", () => {
    const missing = refusal(adapter, utf8('{"value":{}}'))
    assert.deepStrictEqual([missing.reason, missing.path, missing.offset], ["Undecodable", "$.values", 0])
    assert.strictEqual(refusal({ ...adapter, groupsPath: "$.groups" }, utf8("{}")).reason, "Undecodable")
    assert.strictEqual(refusal(adapter, utf8("{")).reason, "Undecodable")
    const twice = { ...adapter, fields: [...adapter.fields, { name: "u", id: "temp" }] }
    assert.include(problemsWith(twice), "$.protocolAdapter.fields[1].id")
  })
})
