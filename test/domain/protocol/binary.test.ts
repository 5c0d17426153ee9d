import { fieldReader, type Layout, widthOf } from "@argusiq/domain/protocol/binary.ts"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { decoded, document, hex, problemsWith, refusal, utf8 } from "./decoding.ts"

const fields = (...list: ReadonlyArray<object>) => ({ kind: "binary", fields: list })

describe("a binary layout", () => {
  /** 123456.0 as Modbus devices send it in two registers, in the four orders that their manuals know. */
  it.each<[string, string, object]>([
    ["ABCD", "47f12000", {}],
    ["CDAB", "200047f1", { wordSwapped: true }],
    ["BADC", "f1470020", { endianness: "little", wordSwapped: true }],
    ["DCBA", "0020f147", { endianness: "little" }]
  ])("reads a float in the order %s", (_, bytes, order) => {
    assert.deepStrictEqual(document(fields({ name: "p", offset: 0, type: "float32", ...order }), hex(bytes)), {
      p: 123_456
    })
  })

  it("reads numbers, bit fields, text and hex at their offsets, scaled", () => {
    const adapter = fields(
      { name: "temp", offset: 0, type: "int16", scale: 0.1, valueOffset: -40 },
      { name: "alarm", offset: 2, type: "uint8", bit: 7 },
      { name: "mode", offset: 2, type: "uint8", bit: 2, bits: 3 },
      { name: "id", offset: 3, type: "text", length: 4 },
      { name: "raw", offset: 3, type: "hex", length: 2 },
      { name: "big", offset: 7, type: "uint64" },
      { name: "later", offset: 15, type: "uint8", optional: true },
      { name: "neg", offset: 0, type: "int24" },
      { name: "volts", offset: 3, type: "uint16", scale: 0.1 }
    )
    assert.deepStrictEqual(document(adapter, hex("fe70 94 41420043 ffffffffffffffff")), {
      temp: -80,
      alarm: true,
      mode: 5,
      id: "AB",
      raw: "4142",
      big: "18446744073709551615",
      neg: -102_252,
      volts: 1670.6
    })
  })

  it("refuses a payload that ends before a field, with offset and field", () => {
    const { offset, path, reason } = refusal(fields({ name: "x", offset: 1, type: "uint32" }), hex("000000"))
    assert.deepStrictEqual([reason, offset, path], ["Undecodable", 3, "x"])
  })

  it("says what is wrong with a layout", () => {
    assert.include(problemsWith(fields({ name: "x", offset: 0, type: "text" })), "needs a length")
    assert.include(problemsWith(fields({ name: "x", offset: 0, type: "uint16", wordSwapped: true })), "words to swap")
    assert.include(problemsWith(fields({ name: "x", offset: 0, type: "int16", bit: 1 })), "unsigned")
    assert.include(problemsWith(fields({ name: "x", offset: 0, type: "uint8", bit: 7, bits: 2 })), "beyond the 8 bits")
  })

  const Type = Schema.Literals([
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint24",
    "int24",
    "uint32",
    "int32",
    "float32",
    "float64"
  ])
  it.prop(
    "swapping words or bytes twice gives the same number",
    {
      type: Type,
      bytes: Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))).check(
        Schema.isMinLength(8),
        Schema.isMaxLength(8)
      )
    },
    ({ bytes, type }) => {
      const layout: Layout = { name: "x", type, endianness: "big", wordSwapped: false }
      const width = widthOf(layout)
      const there = Uint8Array.from(bytes.slice(0, width))
      const straight = fieldReader(layout)(there, 0)
      assert.deepStrictEqual(fieldReader({ ...layout, endianness: "little" })(there.toReversed(), 0), straight)
      if (width < 4) return
      const words = Uint8Array.from(
        Array.from({ length: width / 2 }, (_, at) => Array.from(there.subarray(at * 2, at * 2 + 2)))
          .toReversed()
          .flat()
      )
      assert.deepStrictEqual(fieldReader({ ...layout, wordSwapped: true })(words, 0), straight)
    },
    { arbitrary: { runs: 300 } }
  )
})

describe("bytes in text", () => {
  const adapter = (source: object) => ({ ...fields({ name: "t", offset: 0, type: "uint8" }), source })

  it("are found as hex, as base64 and within a network server's JSON", () => {
    assert.deepStrictEqual(document(adapter({ encoding: "hex" }), utf8(" 2A\n")), { t: 42 })
    assert.deepStrictEqual(document(adapter({ encoding: "base64" }), utf8("Kg==")), { t: 42 })
    const uplink = utf8(JSON.stringify({ fPort: 85, data: "Kg==" })) // ChirpStack v4, event "up"
    assert.deepStrictEqual(document(adapter({ encoding: "base64", path: "$.data" }), uplink), {
      fPort: 85,
      data: "Kg==",
      decoded: { t: 42 }
    })
  })

  it("that are none are refused", () => {
    for (const text of ["2", "zz", "é"])
      assert.strictEqual(refusal(adapter({ encoding: "hex" }), utf8(text)).reason, "Undecodable")
    assert.strictEqual(refusal(adapter({ encoding: "base64", path: "$.data" }), utf8('{"data":7}')).path, "$.data")
    assert.include(problemsWith(adapter({ encoding: "raw", path: "$.data" })), "say hex or base64")
  })
})

describe("tagged values", () => {
  /** Milesight EM300-TH user guide, "Uplink packet": channel and type, then data, little-endian. */
  const em300 = {
    kind: "tlv",
    tagLength: 2,
    fields: [
      { tag: "0175", name: "battery", type: "uint8" },
      { tag: "0367", name: "temperature", type: "int16", endianness: "little", scale: 0.1 },
      { tag: "0468", name: "humidity", type: "uint8", scale: 0.5 }
    ]
  }

  it("of a Milesight EM300-TH are read", () => {
    const root = document(em300, hex("01755c 03673401 046865"))
    assert.deepStrictEqual(root, { battery: 92, temperature: 30.8, humidity: 50.5 })
  })

  it("with an unknown tag are refused where there is no length, and passed where there is", () => {
    assert.deepStrictEqual(refusal(em300, hex("01755c ff01")).offset, 3)
    const withLength = { ...em300, lengthBytes: 1 }
    assert.deepStrictEqual(document(withLength, hex("ff0102aaaa 0175015c")), { battery: 92 })
    assert.strictEqual(refusal(withLength, hex("0175025c")).offset, 0)
    assert.strictEqual(refusal(withLength, hex("0175005c")).path, "0175")
  })

  /** Examples of the Cayenne LPP 1.0 documentation (Cayenne Docs, "Low Power Payload"). */
  it.each<[string, object]>([
    ["03 67 01 10 05 67 00 ff", { temperature_3: 27.2, temperature_5: 25.5 }],
    [
      "01 67 ff d7 06 71 04 d2 fb 2e 00 00",
      { temperature_1: -4.1, accelerometer_6_x: 1.234, accelerometer_6_y: -1.234, accelerometer_6_z: 0 }
    ],
    ["01 88 06 76 5f f2 96 0a 00 03 e8", { gps_1_latitude: 42.3519, gps_1_longitude: -87.9094, gps_1_altitude: 10 }]
  ])("of Cayenne LPP are read: %s", (text, values) => {
    assert.deepStrictEqual(document({ kind: "cayenne_lpp" }, hex(text)), values)
  })

  it("of Cayenne LPP that are cut or unknown are refused with offset and field", () => {
    assert.strictEqual(refusal({ kind: "cayenne_lpp" }, hex("0367 01")).path, "temperature_3")
    assert.strictEqual(refusal({ kind: "cayenne_lpp" }, hex("03fe01")).offset, 1)
    assert.deepStrictEqual(decoded({ kind: "cayenne_lpp" }, hex("")).root, {})
  })
})
