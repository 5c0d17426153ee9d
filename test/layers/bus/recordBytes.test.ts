import { appendedAtOf, decodeRecord, RecordEncoder } from "@argusiq/layers/bus/local/recordBytes.ts"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Schema } from "effect"

/** UTF-8 has no lone surrogates. */
const Text = Schema.String.check(Schema.makeFilter((text: string) => text.isWellFormed()))

const Record = Schema.Struct({
  key: Text,
  headers: Schema.Record(Schema.String, Text),
  value: Schema.Uint8Array,
  appendedAt: Schema.Int
})

describe("the bytes of a record", () => {
  const encoder = new RecordEncoder()

  it.effect.prop(
    "decode to what was encoded",
    { record: Record },
    ({ record: { headers: drawn, ...rest } }) =>
      Effect.sync(() => {
        const record = {
          ...rest,
          headers: Object.fromEntries(Object.entries(drawn).map(([name, value]) => [name.toWellFormed(), value]))
        }
        const { bytes, keyStart, keyEnd, size } = encoder.encode({ topic: "t", ...record }, record.appendedAt)
        const copy = Uint8Array.from(bytes)
        const decoded = decodeRecord("t", 3, 7, copy)
        const headers = Object.entries(record.headers)
        assert.deepStrictEqual(
          [decoded.key, ...Object.entries(decoded.headers).flat()],
          [record.key, ...headers.flat()]
        )
        assert.deepStrictEqual([...decoded.value], [...record.value])
        assert.deepStrictEqual([decoded.topic, decoded.partition, decoded.offset], ["t", 3, 7n])
        assert.strictEqual(decoded.appendedAt, record.appendedAt)
        assert.strictEqual(appendedAtOf(copy), record.appendedAt)
        assert.strictEqual(new TextDecoder().decode(copy.subarray(keyStart, keyEnd)), record.key)
        const text = [record.key, ...headers.flat()].map((part) => Buffer.byteLength(part))
        assert.strictEqual(size, text.reduce((a, b) => a + b, 0) + record.value.length)
      }),
    { arbitrary: { runs: 300 } }
  )

  it("stay apart while the encoder is not reset, also when they outgrow its memory", () => {
    const values = [10, 700_000, 700_000, 3_000_000, 10].map((length, i) => Buffer.alloc(length, i + 1))
    const encoded = values.map((value) => encoder.encode({ topic: "t", key: "k", headers: {}, value }, 0))
    encoded.forEach(({ bytes }, i) => {
      assert.isTrue(values[i]?.equals(decodeRecord("t", 0, 0, bytes).value), `record ${i}`)
    })
  })
})
