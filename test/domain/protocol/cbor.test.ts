import { encode } from "cborg"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { document, hex, refusal } from "./decoding.ts"

/** Test vectors of RFC 8949, appendix A, with what JSON makes of them. */
const appendixA: ReadonlyArray<readonly [hex: string, value: unknown]> = [
  ["00", 0],
  ["17", 23],
  ["1818", 24],
  ["1903e8", 1000],
  ["1b000000e8d4a51000", 1_000_000_000_000],
  ["1bffffffffffffffff", "18446744073709551615"],
  ["c249010000000000000000", "18446744073709551616"],
  ["3bffffffffffffffff", "-18446744073709551616"],
  ["c349010000000000000000", "-18446744073709551617"],
  ["20", -1],
  ["3903e7", -1000],
  ["f93c00", 1],
  ["fb3ff199999999999a", 1.1],
  ["f97bff", 65_504],
  ["fa47c35000", 100_000],
  ["f90001", 5.960464477539063e-8],
  ["f4", false],
  ["f5", true],
  ["f6", null],
  ["f7", null],
  ["c074323031332d30332d32315432303a30343a30305a", "2013-03-21T20:04:00Z"],
  ["c11a514b67b0", 1_363_896_240],
  ["d818456449455446", "ZElFVEY"],
  ["4401020304", "AQIDBA"],
  ["6449455446", "IETF"],
  ["62c3bc", "ü"],
  ["8301820203820405", [1, [2, 3], [4, 5]]],
  ["a201020304", { "1": 2, "3": 4 }],
  ["a26161016162820203", { a: 1, b: [2, 3] }],
  ["9f018202039f0405ffff", [1, [2, 3], [4, 5]]],
  ["bf61610161629f0203ffff", { a: 1, b: [2, 3] }],
  ["c48221196ab3", 273.15], // RFC 8949, section 3.4.4
  ["c5822003", 1.5]
]

/** Without lone surrogates, which UTF-8 cannot hold, and byte order marks, which are skipped. */
const readable = (text: string) => text.toWellFormed().replaceAll("\ufeff", "?")

/** As JSON has it; not by way of its text, since V8 was seen to lose a key there: `{"":"","\t":[],"E":[],"\\":{}}`. */
const asJson = (of: unknown): unknown => {
  if (typeof of === "string") return readable(of)
  if (typeof of === "number") return of + 0 // no negative zero
  if (Array.isArray(of)) return of.map(asJson)
  if (typeof of !== "object" || of === null) return of
  return Object.fromEntries(Object.entries(of).map(([key, value]) => [readable(key), asJson(value)]))
}

const Value = Schema.Union([Schema.Int, Schema.Finite, Schema.Boolean, Schema.Null, Schema.String])

describe("CBOR", () => {
  it.each(appendixA)("%s is read as the RFC says", (text, value) => {
    assert.deepStrictEqual(document("cbor", hex(text)), value)
  })

  it.prop(
    "what a CBOR encoder wrote comes back",
    {
      value: Schema.Record(
        Schema.String,
        Schema.Union([Value, Schema.Array(Value), Schema.Record(Schema.String, Value)])
      )
    },
    ({ value }) => {
      assert.deepStrictEqual(asJson(document("cbor", encode(asJson(value)))), asJson(value))
    },
    { arbitrary: { runs: 300 } }
  )

  it.each<[why: string, hex: string, offset: number]>([
    ["an array that announces 2³² items", "9affffffff00", 0],
    ["a map that announces more than there is", "81ba7fffffff", 1],
    ["a string longer than the payload", "8200 7bffffffffffffffff", 2],
    ["a cut head", "8219ff", 1],
    ["nothing", "", 0],
    ["bytes left over", "0000", 1],
    ["a reserved length", "1c", 0],
    ["a break alone", "81ff", 1],
    ["a map whose key is a map", "a1a000", 1],
    ["a simple value that is not assigned", "81f0", 1],
    ["a string of indefinite length", "7f616161ff", 0]
  ])("%s is refused with its offset", (_, text, offset) => {
    const { offset: found, reason } = refusal("cbor", hex(text))
    assert.deepStrictEqual([reason, found], ["Undecodable", offset])
  })

  it("is bounded in nesting, by arrays and by tags, and in keys", () => {
    assert.strictEqual(refusal("cbor", hex(`${"81".repeat(100_000)}00`)).reason, "PayloadTooDeep")
    assert.strictEqual(refusal("cbor", hex(`${"c1".repeat(100_000)}00`)).reason, "PayloadTooDeep")
    assert.strictEqual(refusal("cbor", hex(`9f${"9f".repeat(100)}`)).reason, "PayloadTooDeep")
    assert.strictEqual(refusal("cbor", hex(`b92ee0${"0000".repeat(12_000)}`)).reason, "TooManyMetrics")
    assert.strictEqual((document("cbor", hex(`${"81".repeat(64)}00`)) as ReadonlyArray<unknown>).length, 1)
  })

  it("keeps __proto__ a key like any other", () => {
    const root = document("cbor", hex("a1695f5f70726f746f5f5fa16161 01")) as object
    assert.isTrue(Object.hasOwn(root, "__proto__"))
    assert.isUndefined(Reflect.get({}, "a"))
  })
})
