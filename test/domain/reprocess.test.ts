import { normalizeChildren, type Opened, openMessage, type SentMessage } from "@argusiq/domain/reprocess.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import { type ResolvedChild } from "@argusiq/domain/demultiplex.ts"
import { makeMemo } from "@argusiq/domain/expression/memo.ts"
import { type Reading } from "@argusiq/domain/readings.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { bytes, compiled, deviceId, deviceTypeId, messageId, normalize, receivedAt, tenantId } from "./compiled.ts"

const child = "0190a5f0-7b1e-7c3d-8a2b-000000000009"
const sent = (config: object, payload: object): SentMessage => ({
  messageId,
  tenantId,
  deviceId,
  receivedAt,
  contentType: "application/json",
  payload: bytes(payload),
  deviceTypeId,
  typeVersion: 1,
  compiled: compiled(config)
})
const opened = (message: SentMessage): Opened => Result.getOrThrow(openMessage(message)).opened
const shown = (readings: ReadonlyArray<Reading>) =>
  readings.map(({ deviceId, metrics, sourceGatewayId }) => ({ deviceId, metrics, sourceGatewayId }))

const rules = { v: { path: "$.v", type: "numeric", required: true } }
const gateway = {
  processingMode: "gateway",
  demuxStrategy: {
    childDevicesPath: "$.devices",
    childDeviceIdPath: "$.id",
    autoCreateChildren: true,
    childDeviceTypeId: deviceTypeId
  }
}

describe("a message that is reprocessed", () => {
  it("of an endpoint gives the readings that the normalizer gives", () => {
    const config = { extractionRules: rules }
    const result = opened(sent(config, { v: 1 }))
    assert.deepStrictEqual(result, {
      _tag: "Normalized",
      message: Result.getOrThrow(normalize({ v: 1 }, config)).message,
      failed: 0
    })
  })

  it("is given the values of expressions that are evaluated elsewhere", () => {
    const transformationRules = [{ kind: "expression", metricKey: "label", expression: "$join(['v', $string(v)])" }]
    for (const [config, payload] of [
      [{ extractionRules: rules, transformationRules }, { v: 1 }],
      [{ processingMode: "rtu_multiport", extractionRules: rules, transformationRules }, { ports: [{ port: 1, v: 1 }] }]
    ] as const) {
      const memo = makeMemo()
      const message: SentMessage = { ...sent(config, payload), evaluate: memo.evaluate }
      opened(message)
      memo.learn(memo.takeMisses(), [Result.succeed("v1")])
      assert.include(JSON.stringify(opened(message)), 'label":"v1"')
    }
  })

  it("of a device with ports gives the readings of each port, and counts those that fail", () => {
    const config = { processingMode: "rtu_multiport", extractionRules: rules }
    const result = opened(sent(config, { ports: [{ port: 1, v: 2 }, { port: 2 }, 3] }))
    assert.strictEqual(result._tag, "Normalized")
    if (result._tag !== "Normalized") return
    assert.deepStrictEqual(shown(result.message.readings), [
      { deviceId: deviceId as Reading["deviceId"], metrics: { "port1.v": 2 }, sourceGatewayId: undefined }
    ])
    assert.strictEqual(result.failed, 2)
  })

  it("of a gateway gives the readings of the children that are known, under the gateway's name for the message", () => {
    const message = sent(gateway, {
      correlationId: "c-1",
      devices: [{ id: "a", v: 1 }, { id: "b", v: 2 }, { id: "a" }]
    })
    const result = opened(message)
    assert.strictEqual(result._tag, "Children")
    if (result._tag !== "Children") return
    const typeOf = () => compiled({ extractionRules: rules })
    const childOf = (identifier: string) =>
      identifier === "a"
        ? ({ deviceId: child, deviceTypeId, typeVersion: 1 } as ResolvedChild)
        : new Poison({ reason: "UnknownChildDevice", message: identifier })
    const complete = normalizeChildren(message, result, childOf, typeOf)
    assert.strictEqual(complete._tag, "Normalized")
    if (complete._tag !== "Normalized") return
    assert.strictEqual(complete.message.correlationId, "c-1")
    assert.deepStrictEqual(shown(complete.message.readings), [
      { deviceId: child as Reading["deviceId"], metrics: { v: 1 }, sourceGatewayId: deviceId as Reading["deviceId"] }
    ])
    assert.strictEqual(complete.failed, 2, "the unknown child, and the one without its metric")
  })

  it("that cannot be read says why", () => {
    const refused = openMessage({ ...sent(gateway, {}), payload: bytes("{") })
    assert.isTrue(Result.isFailure(refused) && refused.failure.reason === "Undecodable")
    const split = openMessage(sent({ processingMode: "gateway" }, {}))
    assert.isTrue(Result.isFailure(split) && split.failure.reason === "UnknownProcessingMode")
  })
})
