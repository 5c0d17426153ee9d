import { type DeviceId, type DeviceTypeId } from "@argusiq/domain/ids.ts"
import { normalizeEntries } from "@argusiq/domain/normalize-entries.ts"
import { portDevices, portKey, splitPorts, withinPort } from "@argusiq/domain/rtu.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { compiled, deviceId, deviceTypeId, messageId, receivedAt, tenantId } from "./compiled.ts"

const rtu = compiled({
  processingMode: "rtu_multiport",
  extractionRules: { voltage: { path: "$.voltage", type: "numeric" } }
})

const split = (root: unknown) => Result.getOrThrow(splitPorts(rtu.portSplitter!, root))

const readings = (root: unknown) => {
  const device = { deviceId: deviceId as DeviceId, deviceTypeId: deviceTypeId as DeviceTypeId, typeVersion: 3 }
  const value = portDevices(split(root), messageId, device)
  return normalizeEntries({ value, messageId, tenantId, deviceId, receivedAt, typeOf: () => rtu }).message.readings
}

describe("splitting a device's message by ports", () => {
  it("gives each port a reading of the device, its metrics under the port's name", () => {
    const four = { timestamp: 1_767_225_600, ports: [1, 2, 3, 4].map((port) => ({ port, voltage: 230 + port })) }
    const found = readings(four)
    assert.deepStrictEqual(
      found.map(({ metrics, port }) => [port, metrics]),
      [
        ["1", { "port1.voltage": 231 }],
        ["2", { "port2.voltage": 232 }],
        ["3", { "port3.voltage": 233 }],
        ["4", { "port4.voltage": 234 }]
      ]
    )
    assert.isTrue(found.every((reading) => reading.deviceId === deviceId && reading.sourceGatewayId === undefined))
    assert.strictEqual(new Set(found.map(({ readingId }) => readingId)).size, 4)
  })

  it("takes an object's keys as ports and keeps the metrics of both forms alike", () => {
    const asObject = readings({ ports: { "1": { voltage: 1 }, "2": { voltage: 2 } } })
    const asArray = readings({
      ports: [
        { port: 1, voltage: 1 },
        { port: "2", voltage: 2 }
      ]
    })
    const shown = (of: typeof asObject) => of.map(({ metrics, port }) => [port, metrics])
    assert.deepStrictEqual(shown(asObject), shown(asArray))
  })

  it("refuses what is no port and no other", () => {
    const { entries, failed } = split({
      ports: [{ port: 1 }, { port: {} }, 7, { voltage: 1 }, { port: "a.b" }, { port: "A-2" }]
    })
    assert.deepStrictEqual(
      entries.map(({ port }) => port),
      ["1", "A-2"]
    )
    assert.deepStrictEqual(
      failed.map(({ index }) => index),
      [1, 2, 3, 4]
    )
    for (const root of [{}, { ports: 7 }, null]) assert.isTrue(Result.isFailure(splitPorts(rtu.portSplitter!, root)))
  })

  it.prop(
    "a metric's name within its port comes back",
    { port: Schema.Literals(["1", "12", "A_b"]), key: Schema.String },
    ({ key, port }) => {
      assert.strictEqual(withinPort(port, portKey(port, key)), key)
      assert.strictEqual(withinPort("2", portKey(port, key)), undefined)
    }
  )
})
