import { decidePublish, decideRollback, effectiveAtOf, type PublishedVersion } from "@argusiq/domain/device-versions.ts"
import { DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { publicationFaults, tryPayload } from "@argusiq/domain/device-type-trial.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { compiled, deviceTypeId, receivedAt as now } from "./compiled.ts"

const config = (of: object = {}) => Schema.decodeUnknownSync(DeviceTypeConfig)({ processingMode: "endpoint", ...of })
const version = (number: number, effectiveAt = number, of: object = {}): PublishedVersion => ({
  number,
  effectiveAt,
  config: config({ offlineAfterSeconds: number, ...of })
})
const vectors = (payload: unknown, ...expected: ReadonlyArray<object>) => ({
  testVectors: [{ name: "v", payload, expected }]
})
const faults = (of: object, child?: object) =>
  publicationFaults(config(of), now, child === undefined ? undefined : compiled(child))

describe("publishing", () => {
  it("puts the first version in force at once, later ones two seconds on and never before the last", () => {
    assert.strictEqual(effectiveAtOf([], now), now)
    assert.strictEqual(effectiveAtOf([version(1)], now), now + 2_000_000)
    assert.strictEqual(effectiveAtOf([version(1, now + 9_000_000)], now), now + 9_000_001)
  })

  it("numbers the draft after the last version, and refuses where there is none", () => {
    const published = Result.getOrThrow(decidePublish({ number: 7, config: config() }, [version(1), version(4)], now))
    assert.strictEqual(published.version.number, 5)
    assert.strictEqual(Result.getOrThrow(Result.flip(decidePublish(undefined, [], now)))._tag, "NothingToPublish")
  })

  it("refuses a draft whose test vector gives something else", () => {
    const refused = decidePublish({ number: 1, config: config(vectors({ t: 1 }, { t: 2 })) }, [], now)
    assert.strictEqual(Result.getOrThrow(Result.flip(refused))._tag, "GateClosed")
  })
})

describe("rolling back", () => {
  const published = [version(1), version(2), version(3)]

  it("publishes the earlier configuration again under a new number, the draft behind it", () => {
    const { draftNumber, version: back } = Result.getOrThrow(
      decideRollback(1, { number: 4, config: config() }, published, now)
    )
    assert.deepStrictEqual(
      [back.number, back.config.offlineAfterSeconds, back.effectiveAt, draftNumber],
      [4, 1, now + 2_000_000, 5]
    )
  })

  it("refuses versions that are in force or never were, and configurations that would not work", () => {
    for (const to of [3, 9]) assert.isTrue(Result.isFailure(decideRollback(to, undefined, published, now)))
    const broken = [version(1, 1, vectors({ t: 1 }, { t: 2 })), version(2)]
    assert.strictEqual(Result.getOrThrow(Result.flip(decideRollback(1, undefined, broken, now)))._tag, "GateClosed")
  })
})

describe("test vectors", () => {
  const demuxStrategy = {
    childDevicesPath: "$.data.devices",
    childDeviceIdPath: "$.id",
    autoCreateChildren: true,
    childDeviceTypeId: deviceTypeId
  }
  const child = { extractionRules: { rssi: { path: "$.rssi", type: "numeric", required: true } } }
  const devices = (...ids: ReadonlyArray<number>) => ({ devices: ids.map((id) => ({ id, rssi: -id })) })

  it("run gateways through the children's type, whole and in chunks of any order", () => {
    const whole = {
      processingMode: "gateway",
      demuxStrategy,
      ...vectors({ data: devices(1, 2) }, { rssi: -1 }, { rssi: -2 })
    }
    assert.deepStrictEqual(faults(whole, child), [])
    const chunk = (seq: number, ...ids: ReadonlyArray<number>) => ({
      correlationId: "c",
      seq,
      total: 2,
      data: devices(...ids)
    })
    const chunks = [chunk(2, 3), chunk(1, 1, 2)]
    const expected = [{ rssi: -1 }, { rssi: -2 }, { rssi: -3 }]
    assert.deepStrictEqual(
      faults({ processingMode: "gateway_chunked", demuxStrategy, ...vectors(chunks, ...expected) }, child),
      []
    )
    const cut = { processingMode: "gateway_chunked", demuxStrategy, ...vectors(chunks.slice(1), ...expected) }
    assert.include(faults(cut, child)[0]?.message, "ChunkTimeout")
  })

  it("run ports, and bytes through their adapter", () => {
    const ports = vectors({ ports: { "1": { voltage: 5 } } }, { "port1.voltage": 5 })
    assert.deepStrictEqual(faults({ processingMode: "rtu_multiport", ...ports }), [])
    const binary = { kind: "binary", fields: [{ name: "t", offset: 0, type: "int16", scale: 0.1 }] }
    assert.deepStrictEqual(faults({ protocolAdapter: binary, ...vectors({ hex: "00d7" }, { t: 21.5 }) }), [])
    assert.deepStrictEqual(faults({ protocolAdapter: "csv", ...vectors("a,b\n1,x", { a: 1, b: "x" }) }), [])
  })

  it("show one entry that fails, a missing child type and a missing strategy", () => {
    const bad = { processingMode: "gateway", demuxStrategy, ...vectors({ data: { devices: [{ id: 1 }] } }, {}) }
    assert.include(faults(bad, child)[0]?.message, "ExtractionFailed")
    assert.strictEqual(faults(bad)[0]?.path, "config.demuxStrategy.childDeviceTypeId")
    assert.strictEqual(faults({ processingMode: "gateway" })[0]?.path, "config.demuxStrategy")
    assert.isTrue(Result.isFailure(tryPayload(config({ processingMode: "gateway" }), {}, now)))
  })

  it("feed a stateful adapter one message after another", () => {
    const birth = { hex: "120f 0a0474656d70 1001 2009 650000a041 1800" }
    const data = { hex: "1207 1001 650000ac41 1801" }
    const rules = { extractionRules: { temp: { path: "$.metrics.temp", type: "numeric" } } }
    const type = { protocolAdapter: "sparkplug_b", ...rules, ...vectors([birth, data], { temp: 20 }, { temp: 21.5 }) }
    assert.deepStrictEqual(faults(type), [])
  })
})
