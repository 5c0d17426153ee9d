import { structureLimits } from "@argusiq/domain/scan.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { decoderOf, hex, utf8 } from "./decoding.ts"

const field = { name: "x", offset: 0, type: "uint16" }
/** Each adapter with a payload that it can read. */
const adapters: ReadonlyArray<readonly [name: string, adapter: unknown, valid: Uint8Array]> = [
  ["json", "json", utf8('{"a":[1,{"b":"c"}]}')],
  ["csv", "csv", utf8('a,b\r\n1,"x ""y"""\r\n')],
  ["cbor", "cbor", hex("a26161016162820203")],
  ["senml", "senml", utf8('[{"bn":"d:","n":"t","v":1,"t":5}]')],
  ["senml cbor", { kind: "senml", format: "cbor" }, hex("81a3006174020121 6162")],
  ["sparkplug_b", "sparkplug_b", hex("08ea e7d7 d9a0 2b 1209 0a0161 1001 2003 5001 1800")],
  ["binary", { kind: "binary", fields: [field] }, hex("0102")],
  [
    "binary in JSON",
    { kind: "binary", source: { encoding: "base64", path: "$.d" }, fields: [field] },
    utf8('{"d":"AQI="}')
  ],
  ["tlv", { kind: "tlv", tagLength: 1, lengthBytes: 1, fields: [{ ...field, tag: "01" }] }, hex("01020304")],
  ["cayenne_lpp", { kind: "cayenne_lpp" }, hex("0367011005 6700ff")]
]
const Byte = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))
const Edit = Schema.Struct({ at: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 0.999 })), byte: Byte })

describe.each(adapters)("%s", (_, adapter, valid) => {
  const decoder = decoderOf(adapter)
  const survives = (bytes: Uint8Array) => {
    const result = decoder.decode(bytes, structureLimits)
    if (Result.isSuccess(result)) assert.isString(JSON.stringify(result.success.root) ?? "")
    else assert.isTrue(result.failure.message.length > 10 && result.failure.message.length < 2_000)
  }

  it.prop(
    "never throws on random bytes",
    { bytes: Schema.Array(Byte).check(Schema.isMaxLength(200)) },
    ({ bytes }) => survives(Uint8Array.from(bytes)),
    { arbitrary: { runs: 300 } }
  )

  it.prop(
    "never throws on a payload with some bytes changed or cut off",
    {
      edits: Schema.Array(Edit).check(Schema.isMaxLength(3)),
      cut: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))
    },
    ({ cut, edits }) => {
      const bytes = Uint8Array.from(valid)
      for (const { at, byte } of edits) bytes[Math.floor(at * bytes.length)] = byte
      survives(bytes.subarray(0, Math.ceil(cut * bytes.length)))
    },
    { arbitrary: { runs: 300 } }
  )
})
