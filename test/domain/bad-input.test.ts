/** The table of bad inputs, row by row: what a device may send, and what becomes of it. */
import { checkArrival, MAX_PAYLOAD_BYTES } from "@argusiq/domain/bridge.ts"
import { movesLatest } from "@argusiq/domain/normalize.ts"
import { KEPT_BYTES, truncateOversized } from "@argusiq/domain/oversized.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { createHash } from "node:crypto"
import { bytes, deviceId, deviceTypeId, poison, reading, receivedAt, tenantId } from "./compiled.ts"

const required = (type: string) => ({ extractionRules: { a: { path: "$.a", type, required: true } } })

describe("what cannot be decoded is poison, with the byte it stopped at", () => {
  it.each([
    ["not JSON", bytes("temperature=23"), 1],
    ["an empty payload", bytes(""), 0],
    ["truncated JSON", bytes('{"a":1'), 6],
    ["two values", bytes('{"a":1}{"a":2}'), 7],
    ["truncated UTF-8", Uint8Array.of(...bytes('{"a":"'), 0xe2, 0x82), 6],
    ["an overlong form", Uint8Array.of(...bytes('"'), 0xc0, 0xaf), 1],
    ["an encoded surrogate", Uint8Array.of(...bytes('"'), 0xed, 0xa0, 0x80, 0x22), 1],
    ["binary", Uint8Array.of(0xff, 0x00), 0]
  ])("%s", (_, payload, offset) => {
    const { message, offset: at, reason } = poison(payload)
    assert.strictEqual(reason, "Undecodable")
    assert.strictEqual(at, offset)
    assert.include(message, `byte ${offset}`)
  })
})

describe("what is too large", () => {
  const device = { deviceId, tenantId, deviceTypeId, status: "active", sequence: 1 } as never
  const arrival = (payloadBytes: number) =>
    checkArrival({ addressed: deviceId, organizationId: undefined, device, payloadBytes })

  it("over 8 MiB is PayloadTooLarge; 8 MiB is not", () => {
    assert.isTrue(Result.isSuccess(arrival(MAX_PAYLOAD_BYTES)))
    const { limit, reason } = Result.getOrThrow(Result.flip(arrival(MAX_PAYLOAD_BYTES + 1)))
    assert.deepStrictEqual([reason, limit], ["PayloadTooLarge", 8 * 1024 * 1024])
  })

  it("leaves its first 64 KiB, its length and its SHA-256", () => {
    const payload = new Uint8Array(MAX_PAYLOAD_BYTES + 1).fill(7)
    const { headers, value } = truncateOversized(payload)
    assert.strictEqual(value.byteLength, KEPT_BYTES)
    assert.strictEqual(value.buffer.byteLength, KEPT_BYTES)
    assert.strictEqual(headers["payload-bytes"], String(payload.byteLength))
    assert.strictEqual(headers["payload-sha256"], createHash("sha256").update(payload).digest("hex"))
  })

  it("depth over 64 is PayloadTooDeep", () => {
    assert.strictEqual(poison(`${'{"a":'.repeat(65)}1${"}".repeat(65)}`).reason, "PayloadTooDeep")
    assert.strictEqual(reading(`${'{"a":'.repeat(64)}1${"}".repeat(64)}`).skipped, 1)
  })

  it("over 10,000 keys is TooManyMetrics", () => {
    const tooMany = Object.fromEntries(Array.from({ length: 10_001 }, (_, index) => [`k${index}`, index]))
    assert.strictEqual(poison(tooMany).reason, "TooManyMetrics")
  })
})

describe("a metric that cannot be stored is skipped and counted, its neighbours stay", () => {
  it.each([
    ["the key __proto__", '{"__proto__":1,"b":2}'],
    ["a control character in a key", '{"a\\u0007":1,"b":2}'],
    ["a C1 control character in a key", '{"a\\u0085":1,"b":2}'],
    ["NUL in a key", '{"a\\u0000":1,"b":2}'],
    ["a lone surrogate in a key", '{"a\\ud800":1,"b":2}'],
    ["an empty key", '{"":1,"b":2}'],
    ["a key of 501 units", `{"${"k".repeat(501)}":1,"b":2}`],
    ["1e999", '{"a":1e999,"b":2}'],
    ["-1e999", '{"a":-1e999,"b":2}'],
    ["NaN", '{"a":NaN,"b":2}'],
    ["-Infinity", '{"a":-Infinity,"b":2}'],
    ["null", '{"a":null,"b":2}'],
    ["an array without rules", '{"a":[1],"b":2}']
  ])("%s", (_, payload) => {
    const { metrics, quality, skipped } = reading(payload)
    assert.deepStrictEqual(Object.entries(metrics), [["b", 2]])
    assert.strictEqual(skipped, 1)
    assert.isUndefined(quality)
    assert.strictEqual(Object.getPrototypeOf(metrics), Object.prototype)
  })

  it("a key of 500 units, an emoji in a key and the names of inherited properties are kept", () => {
    const payload = { ["k".repeat(500)]: 1, "🌡": 2, constructor: 3, toString: 4 }
    assert.deepStrictEqual(reading(payload).metrics, payload)
  })

  it.each([
    ["1e999", '{"a":1e999}'],
    ["NaN", '{"a":NaN}'],
    ["NaN in text", '{"a":"NaN"}'],
    ["null", '{"a":null}'],
    ["absence", "{}"],
    ["the wrong type", '{"a":{}}']
  ])("when it is required, %s is ExtractionFailed with rule and path", (_, payload) => {
    const { message, path, reason } = poison(payload, required("numeric"))
    assert.strictEqual(reason, "ExtractionFailed")
    assert.strictEqual(path, "$.a")
    assert.include(message, '"a"')
  })
})

it("of duplicate keys the last wins", () => {
  assert.deepStrictEqual(reading('{"a":1,"a":2}').metrics, { a: 2 })
})

const rule = (type: string) => ({ extractionRules: { a: { path: "$.a", type } } })

describe("NUL and lone surrogates in text become U+FFFD, quality uncertain", () => {
  it.each([
    ["NUL in text", '{"a":"x\\u0000y"}', {}, "x\uFFFDy"],
    ["a lone surrogate in text", '{"a":"x\\ud83dy"}', {}, "x\uFFFDy"],
    ["a lone low surrogate in text, by rule", '{"a":"\\udc00"}', rule("text"), "\uFFFD"],
    ["NUL deep in json", '{"a":{"b":[{"c":"\\u0000"}]}}', rule("json"), { b: [{ c: "\uFFFD" }] }],
    ["NUL in a key of json", '{"a":{"z":1,"\\u0000":1}}', rule("json"), { z: 1, "\uFFFD": 1 }],
    ["1e999 in json", '{"a":[1,1e999]}', rule("json"), [1, null]]
  ])("%s", (_, payload, config, expected) => {
    const { metrics, quality, skipped } = reading(payload, config)
    assert.deepStrictEqual(metrics, { a: expected })
    assert.deepStrictEqual(quality, { a: "uncertain" })
    assert.strictEqual(skipped, 0)
  })

  it("__proto__ in json is left out, and no object gets another prototype by it", () => {
    const { metrics, quality } = reading('{"a":{"__proto__":{"x":1},"b":1}}', rule("json"))
    assert.strictEqual(JSON.stringify(metrics), '{"a":{"b":1}}')
    assert.deepStrictEqual(quality, { a: "uncertain" })
  })

  it("text with paired surrogates is kept, quality good", () => {
    const { metrics, quality } = reading({ a: "🌡 ü" })
    assert.deepStrictEqual(metrics, { a: "🌡 ü" })
    assert.isUndefined(quality)
  })
})

const at = (timestamp: unknown) => {
  const given = reading({ timestamp, a: 1 })
  return [given.ts - receivedAt, given.quality?.["a"] ?? "good", movesLatest(given, receivedAt)]
}

const seconds = (offset: number) => receivedAt / 1e6 + offset

describe("timestamps", () => {
  const year = 31_536_000

  it("absent: received-at, quality good", () => {
    assert.deepStrictEqual(at(undefined), [0, "good", true])
    assert.deepStrictEqual(at(null), [0, "good", true])
  })
  it.each([["yesterday"], [true], [{}], ["2026-02-30T00:00:00Z"], [1e300]])(
    "unreadable (%j): received-at, quality uncertain",
    (given) => {
      assert.deepStrictEqual(at(given), [0, "uncertain", true])
    }
  )
  it("60 s ahead and 1 y behind: quality good", () => {
    assert.deepStrictEqual(at(seconds(60)), [60e6, "good", true])
    assert.deepStrictEqual(at(seconds(-year)), [-year * 1e6, "good", true])
  })
  it("more than 60 s ahead or 1 y behind: kept at its time, quality uncertain, no part in latest", () => {
    assert.deepStrictEqual(at(seconds(61)), [61e6, "uncertain", false])
    assert.deepStrictEqual(at(seconds(-year - 1)), [(-year - 1) * 1e6, "uncertain", false])
  })
  it("a type that allows more than 60 s ahead moves latest only up to 60 s", () => {
    const config = { timestamp: { maxAheadSeconds: 3600 } }
    const given = reading({ ts: seconds(600), a: 1 }, config)
    assert.isUndefined(given.quality)
    assert.isFalse(movesLatest(given, receivedAt))
  })
  it("makes every good metric uncertain and leaves bad ones bad, whatever they are called", () => {
    const config = {
      extractionRules: {
        constructor: { path: "$.constructor", type: "numeric" },
        hot: { path: "$.hot", type: "numeric", max: 10 }
      }
    }
    const given = reading({ timestamp: "?", constructor: 1, hot: 11 }, config)
    assert.deepStrictEqual({ ...given.quality }, { constructor: "uncertain", hot: "bad" } as never)
  })
})
