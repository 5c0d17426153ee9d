import { type CompiledDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import {
  admitChildren,
  childDeviceId,
  demultiplex,
  gatewayLimits,
  identifiersOf,
  MAX_ENTRIES,
  onlyEntry,
  resolveChildren,
  type ResolvedChild
} from "@argusiq/domain/demultiplex.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import { type DeviceTypeId } from "@argusiq/domain/ids.ts"
import { openPayload } from "@argusiq/domain/normalize.ts"
import { normalizeEntries } from "@argusiq/domain/normalize-entries.ts"
import { LogicalDevices, NormalizedMessage } from "@argusiq/domain/readings.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { bytes, compiled, deviceId, deviceTypeId, messageId, receivedAt, tenantId } from "./compiled.ts"

const demuxStrategy = {
  childDevicesPath: "$.devices",
  childDeviceIdPath: "$.beaconId",
  autoCreateChildren: true,
  childDeviceTypeId: deviceTypeId
}
const gateway = compiled({ processingMode: "gateway", demuxStrategy })
const beacon = compiled({ extractionRules: { rssi: { path: "$.rssi", type: "numeric", required: true } } })

const childOf = (identifier: string): ResolvedChild => ({
  deviceId: childDeviceId(tenantId, deviceId, identifier),
  deviceTypeId: deviceTypeId as DeviceTypeId,
  typeVersion: 1
})

const split = (message: object, type: CompiledDeviceType = gateway) =>
  Result.getOrThrow(
    demultiplex(type.demultiplexer!, Result.getOrThrow(openPayload(type, bytes(message), gatewayLimits)).root)
  )

const normalized = (value: LogicalDevices, childType = beacon) =>
  normalizeEntries({ value, messageId, tenantId, deviceId, receivedAt, typeOf: () => childType })

/** Through the bytes of the record between the services, as in life. */
const readings = (message: object) => {
  const { value } = resolveChildren(split(message), messageId, childOf)
  const travelled = Schema.decodeUnknownSync(Schema.fromJsonString(LogicalDevices))(JSON.stringify(value))
  return normalized(travelled)
}

const Beacon = Schema.Struct({
  beaconId: Schema.Literals(["a", "b", "c", "d"]),
  rssi: Schema.Int.check(Schema.isBetween({ minimum: -120, maximum: 0 }))
})
const Broken = Schema.Union([Schema.Null, Schema.Literals([7, "text"])])

describe("demultiplexing a gateway's message", () => {
  it.prop(
    "loses no child, doubles none and keeps their order, whatever is broken between them",
    { devices: Schema.Array(Schema.Union([Beacon, Broken])).check(Schema.isMaxLength(40)) },
    ({ devices }) => {
      const { entries, failed } = split({ devices })
      assert.deepStrictEqual(
        entries.map(({ index, payload }) => [index, payload]),
        devices.flatMap((device, index) => (typeof device === "object" && device !== null ? [[index, device]] : []))
      )
      const all = [...entries, ...failed].map(({ index }) => index).toSorted((left, right) => left - right)
      assert.deepStrictEqual(all, [...devices.keys()])
      const perChild = (of: ReadonlyArray<{ readonly beaconId: string }>, id: string) =>
        of.filter(({ beaconId }) => beaconId === id)
      for (const id of ["a", "b", "c", "d"]) {
        assert.deepStrictEqual(
          entries.filter(({ identifier }) => identifier === id).map(({ payload }) => payload),
          perChild(
            devices.filter((device): device is typeof Beacon.Type => typeof device === "object" && device !== null),
            id
          )
        )
      }
    },
    { arbitrary: { runs: 300 } }
  )

  it("gives children the gateway's timestamp and its id", () => {
    const { message } = readings({ timestamp: "2026-01-01T00:00:00Z", devices: [{ beaconId: "b1", rssi: -60 }] })
    const [reading] = message.readings
    assert.strictEqual(reading?.ts, receivedAt)
    assert.strictEqual(reading?.sourceGatewayId, deviceId)
    assert.strictEqual(reading?.deviceId, childDeviceId(tenantId, deviceId, "b1"))
    Schema.decodeUnknownSync(NormalizedMessage)(JSON.parse(JSON.stringify(message)))
  })

  it("gives two readings for the same child twice, and the same ids when it is repeated", () => {
    const message = {
      timestamp: 1_767_225_600,
      devices: [
        { beaconId: "b", rssi: -60 },
        { beaconId: "b", rssi: -60 }
      ]
    }
    const ids = () => readings(message).message.readings.map(({ readingId }) => readingId)
    assert.strictEqual(new Set(ids()).size, 2)
    assert.deepStrictEqual(ids(), ids())
  })

  it("leaves the ids of an entry alone when a neighbour is repaired", () => {
    const entry = { beaconId: "b", rssi: -60 }
    const broken = readings({ timestamp: 1_767_225_600, devices: [{ rssi: 1 }, entry] }).message.readings
    const repaired = readings({ timestamp: 1_767_225_600, devices: [{ beaconId: "x", rssi: 1 }, entry] }).message
      .readings
    assert.strictEqual(broken[0]?.readingId, repaired[1]?.readingId)
  })

  it("prefers a child's own timestamp, and doubts one that cannot be read", () => {
    const type = compiled({
      processingMode: "gateway",
      demuxStrategy: { ...demuxStrategy, childTimestampPath: "$.at" }
    })
    const devices = [
      { beaconId: "own", at: 1_767_225_599, rssi: 1 },
      { beaconId: "none", rssi: 1 },
      { beaconId: "bad", at: "soon", rssi: 1 }
    ]
    const { entries } = split({ timestamp: 1_767_225_600, devices }, type)
    assert.deepStrictEqual(
      entries.map(({ deviceTimestamp, doubtful }) => [deviceTimestamp, doubtful]),
      [
        [receivedAt - 1_000_000, false],
        [receivedAt, false],
        [receivedAt, true]
      ]
    )
    const { message } = normalized(resolveChildren(split({ devices }, type), "", childOf).value)
    assert.deepStrictEqual(
      message.readings.map(({ quality }) => quality),
      [undefined, undefined, { rssi: "uncertain" }]
    )
  })

  it.each<[why: string, id: unknown, part: string]>([
    ["without an id", undefined, "nothing is there"],
    ["whose id is an object", {}, "neither text nor a number"],
    ["whose id is true", true, "neither text nor a number"],
    ["whose id is empty", "", "empty"],
    ["whose id is too long", "x".repeat(256), "longer than 255"],
    ["whose id has control characters", "a\u0000b", "control characters"],
    ["whose id a double cannot hold", 2 ** 53, "send it as text"]
  ])("refuses an entry %s and no other", (_, beaconId, part) => {
    const { entries, failed } = split({ devices: [{ beaconId: "a", rssi: 1 }, { beaconId }, { beaconId: 7, rssi: 1 }] })
    assert.deepStrictEqual(
      entries.map(({ identifier }) => identifier),
      ["a", "7"]
    )
    assert.deepStrictEqual(
      failed.map(({ index, error }) => [index, error.reason, error.path]),
      [[1, "ExtractionFailed", "$.devices[1].beaconId"]]
    )
    assert.include(failed[0]?.error.message, part)
  })

  it.each<[string, unknown, string]>([
    ["there is no list", undefined, "nothing is there"],
    ["the list is an object", { a: {} }, "no array"],
    ["there are too many", Array.from({ length: MAX_ENTRIES + 1 }, () => 0), "more than 10000"]
  ])("refuses the whole message when %s", (_, devices, part) => {
    const result = demultiplex(gateway.demultiplexer!, { devices })
    assert.include(Result.getOrThrow(Result.flip(result)).message, part)
  })

  it("sends on what is known when one child is not, and fails one entry of a wrong type alone", () => {
    const refusal = new Poison({ reason: "UnknownChildDevice", message: "no" })
    const devices = [{ beaconId: "a", rssi: 1 }, { beaconId: "b", rssi: 2 }, { beaconId: "c" }]
    const { failed, value } = resolveChildren(split({ devices }), "corr", (id) => (id === "a" ? refusal : childOf(id)))
    assert.deepStrictEqual(failed, [{ index: 0, error: refusal }])
    const { failed: later, message } = normalized(value)
    assert.deepStrictEqual(
      later.map(({ index, error }) => [index, error.reason]),
      [[2, "ExtractionFailed"]]
    )
    assert.strictEqual(message.correlationId, "corr")
    assert.deepStrictEqual(
      message.readings.map(({ metrics }) => metrics),
      [{ rssi: 2 }]
    )
  })

  it("limits a retry to its entry and asks for each child of a batch once", () => {
    const one = split({ devices: [{ beaconId: "a" }, { beaconId: "b" }, 7] })
    assert.deepStrictEqual([...identifiersOf([one, one])], ["a", "b"])
    assert.deepStrictEqual(
      onlyEntry(one, 1).entries.map(({ identifier }) => identifier),
      ["b"]
    )
    assert.strictEqual(onlyEntry(one, 1).failed.length, 0)
    assert.strictEqual(onlyEntry(one, undefined), one)
  })

  it("creates children up to the gateway's limit, and none where its type creates none", () => {
    const { create, refused } = admitChildren(["a", "b", "a", "c"], 8, { autoCreateChildren: true, maxChildren: 10 })
    assert.deepStrictEqual(create, ["a", "b"])
    assert.deepStrictEqual(
      [...refused].map(([id, { reason }]) => [id, reason]),
      [["c", "ChildLimitReached"]]
    )
    const none = admitChildren(["a"], 0, { autoCreateChildren: false, maxChildren: 10 })
    assert.strictEqual(none.refused.get("a")?.reason, "UnknownChildDevice")
  })
})
