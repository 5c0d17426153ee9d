import { DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { publicationFaults } from "@argusiq/domain/device-type-trial.ts"
import { compileConverter, ConverterContent } from "@argusiq/domain/protocol/converter.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { readFileSync } from "node:fs"
import { compiled, receivedAt } from "./compiled.ts"

const document = readFileSync(new URL("../../docs/device-types.md", import.meta.url), "utf8")
const examples = [...document.matchAll(/^```json\n([^]*?)^```$/gm)].map(([, json]) => JSON.parse(json!) as object)

const decodeConfig = Schema.decodeUnknownSync(DeviceTypeConfig)
const decodeContent = Schema.decodeUnknownSync(ConverterContent)
const beacon = compiled({ extractionRules: { rssi: { path: "$.rssi", type: "numeric", required: true } } })

describe("docs/device-types.md", () => {
  it("shows device types that can be published, each with a vector that holds", () => {
    const types = examples.filter((example) => "processingMode" in example).map((example) => decodeConfig(example))
    assert.isAtLeast(types.length, 12)
    for (const type of types) {
      assert.isNotEmpty(type.testVectors)
      assert.deepStrictEqual(publicationFaults(type, receivedAt, beacon), [])
    }
  })

  it("shows a converter of each protocol, and an example of each mode and adapter", () => {
    const converters = examples
      .filter((example) => "sourceProtocol" in example)
      .map((example) => decodeContent(example))
    for (const converter of converters) assert.isTrue(Result.isSuccess(compileConverter(converter, 1)))
    assert.sameMembers(
      converters.map(({ sourceProtocol }) => sourceProtocol),
      ["modbus", "opcua", "bacnet", "raw"]
    )
    const types = examples.filter((example) => "processingMode" in example).map((example) => decodeConfig(example))
    const modes = new Set(types.map(({ processingMode }) => processingMode))
    assert.sameMembers([...modes], ["endpoint", "gateway", "gateway_chunked", "rtu_multiport"])
    const adapters = new Set<string>(
      types.map(({ protocolAdapter }) =>
        typeof protocolAdapter === "string" ? protocolAdapter : "kind" in protocolAdapter ? protocolAdapter.kind : ""
      )
    )
    const all = ["json", "csv", "cbor", "senml", "sparkplug_b", "binary", "tlv", "cayenne_lpp", "keyed"]
    assert.sameMembers([...adapters], all)
  })
})
