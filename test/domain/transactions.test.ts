import { compileDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import { DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { type NormalizedMessage } from "@argusiq/domain/readings.ts"
import { correlationIdOf, isGatewayMessage, logicalDevicesIn } from "@argusiq/domain/transactions.ts"
import { demultiplex } from "@argusiq/domain/demultiplex.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"

const decode = Schema.decodeUnknownSync(DeviceTypeConfig)
const demuxStrategy = {
  childDevicesPath: "$.devices",
  childDeviceIdPath: "$.id",
  autoCreateChildren: true,
  childDeviceTypeId: "01890a5d-ac96-774b-bcce-b302099a8057"
}
const compiled = (config: object) => Result.getOrThrow(compileDeviceType(decode({ demuxStrategy, ...config })))
const gateway = compiled({ processingMode: "gateway" })
const chunked = compiled({ processingMode: "gateway_chunked", chunkingConfig: { correlationIdPath: "$.head.id" } })

describe("the correlation id of a gateway's message", () => {
  it.each([
    [{ correlationId: "msg-1" }, "msg-1"],
    [{ correlationId: 17 }, "17"],
    [{ correlationId: "" }, "the message id"],
    [{ correlationId: "a\0b" }, "the message id"],
    [{ correlationId: "x".repeat(256) }, "the message id"],
    [{ correlationId: { deep: 1 } }, "the message id"],
    [Object.create({ correlationId: "inherited" }), "the message id"],
    [[], "the message id"],
    [null, "the message id"]
  ])("of %j is %s", (root, expected) => {
    assert.strictEqual(correlationIdOf(gateway, root, "the message id"), expected)
  })

  it("is read where a chunked type says", () => {
    const root = { correlationId: "elsewhere", head: { id: "group 7" }, seq: 1, total: 2, data: {} }
    assert.strictEqual(correlationIdOf(chunked, root, "the message id"), "group 7")
  })
})

describe("the logical devices of a message", () => {
  it("are counted once each, and an entry that names none as one", () => {
    const devices = [{ id: "a" }, { id: "b" }, { id: "a" }, {}, 7]
    const all = Result.getOrThrow(demultiplex(gateway.demultiplexer!, { devices }))
    assert.strictEqual(logicalDevicesIn(all), 4)
  })
})

describe("a normalized message is a gateway's", () => {
  it.each([
    [{ correlationId: "c", readings: [{ sourceGatewayId: "g" }] }, true],
    [{ correlationId: "c", readings: [] }, true],
    [{ correlationId: "c", readings: [{ port: "1" }] }, false],
    [{ readings: [{}] }, false]
  ])("%j: %s", (message, expected) => {
    assert.strictEqual(isGatewayMessage(message as unknown as NormalizedMessage), expected)
  })
})
