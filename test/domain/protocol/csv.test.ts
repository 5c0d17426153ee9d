import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { document, refusal, utf8 } from "./decoding.ts"

const many = { kind: "csv", rows: "many" }
const Cell = Schema.String.check(Schema.isMaxLength(8))
const quoted = (text: string) => `"${text.replaceAll('"', '""')}"`

describe("CSV", () => {
  it("is read by the names of its first line, or by those of the configuration", () => {
    assert.deepStrictEqual(document("csv", utf8("id,temp,note\r\n007,21.5,\r\n")), { id: "007", temp: 21.5 })
    const adapter = { kind: "csv", delimiter: ";", columns: ["a", "b"] }
    assert.deepStrictEqual(document(adapter, utf8('1e3;"x;""y""\n"')), { a: "1e3", b: 'x;"y"\n' })
    assert.deepStrictEqual(document(many, utf8("a\n1\n2")), { rows: [{ a: 1 }, { a: 2 }] })
  })

  it.prop(
    "what RFC 4180 writes comes back",
    { rows: Schema.Array(Schema.Struct({ a: Cell, b: Cell })).check(Schema.isMaxLength(5)) },
    ({ rows }) => {
      const lines = rows.map(({ a, b }) => `${quoted(a)},${quoted(b)}`)
      const wellFormed = rows.map(({ a, b }) => ({ a: a.toWellFormed(), b: b.toWellFormed() }))
      const { rows: read } = document(many, utf8(["a,b", ...lines].join("\r\n"))) as {
        rows: ReadonlyArray<Record<string, unknown>>
      }
      const asText = read.map((row) => ({ a: String(row["a"] ?? ""), b: String(row["b"] ?? "") }))
      assert.deepStrictEqual(asText, wellFormed)
    },
    { arbitrary: { runs: 300 } }
  )

  it.each<[why: string, text: string, offset: number]>([
    ["a quote that does not end", 'a\n"é', 2],
    ["a quote within a field", 'a\né"', 4],
    ["something after a quoted field", 'a\n"x"y', 5],
    ["a carriage return alone", "a\rb", 1]
  ])("with %s is refused at the byte", (_, text, offset) => {
    assert.strictEqual(refusal("csv", utf8(text)).offset, offset)
  })

  it("with irregular rows, repeated names, several rows or none, or other bytes than UTF-8 is refused", () => {
    for (const text of ["a,b\n1", "a,a\n1,2", "a\n1\n2", "a", "", ",b\n1,2"]) {
      assert.strictEqual(refusal("csv", utf8(text)).reason, "Undecodable", text)
    }
    assert.strictEqual(refusal("csv", Uint8Array.of(97, 10, 0xff)).offset, 2)
  })

  it("of one huge field, and of very many, is refused quickly", () => {
    assert.include(refusal("csv", utf8(`a\n${"x".repeat(7_000_000)}`)).message, "longer than 1048576")
    assert.include(refusal("csv", utf8(`a\n"${'""'.repeat(3_000_000)}"`)).message, "longer than 1048576")
    assert.strictEqual(refusal("csv", utf8(",".repeat(7_000_000))).reason, "TooManyMetrics")
  })
})
