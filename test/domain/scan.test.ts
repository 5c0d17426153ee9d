import { jsonErrorOffset, utf8ErrorOffset } from "@argusiq/domain/json-syntax.ts"
import { checkStructure, decodeJson } from "@argusiq/domain/scan.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import { bytes } from "./compiled.ts"

const Fragment = Schema.Literals([
  "{",
  "}",
  "[",
  "]",
  ":",
  ",",
  '"',
  '"a"',
  '"a":',
  "\\",
  "\\u00e9",
  "\\n",
  " ",
  "\n",
  "\t",
  "0",
  "1",
  "-",
  "+",
  ".",
  "e",
  "E5",
  "12.5",
  "true",
  "false",
  "null",
  "nul",
  "é",
  "𝄞",
  "\u0001",
  "a",
  "/"
])
const Edit = Schema.Struct({
  at: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 })),
  with: Schema.Literals(["", "x", "}", '"', ",", "\\", "1"])
})

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}
const depthOf = (value: unknown): number =>
  typeof value === "object" && value !== null ? 1 + Math.max(0, ...Object.values(value).map(depthOf)) : 0
const keysOf = (value: unknown): number =>
  typeof value !== "object" || value === null
    ? 0
    : (Array.isArray(value) ? 0 : Object.keys(value).length) +
      Object.values(value).reduce((sum: number, item) => sum + keysOf(item), 0)

describe("the place of an error", () => {
  it.prop(
    "exists exactly where JSON.parse refuses, for text put together from JSON's parts",
    { parts: Schema.Array(Fragment) },
    ({ parts }) => {
      const text = parts.join("")
      return (jsonErrorOffset(bytes(text)) === undefined) === isJson(text)
    },
    { arbitrary: { runs: 3_000 } }
  )

  it.prop(
    "exists exactly where JSON.parse refuses, for JSON with one edit",
    { value: Schema.Json, edit: Edit },
    ({ edit, value }) => {
      const text = JSON.stringify(value)
      const at = Math.floor(edit.at * text.length)
      const edited = (text.slice(0, at) + edit.with + text.slice(at + 1)).toWellFormed()
      return (jsonErrorOffset(bytes(edited)) === undefined) === isJson(edited)
    },
    { arbitrary: { runs: 1_000 } }
  )

  it.prop(
    "in UTF-8 exists exactly where the decoder refuses",
    {
      given: Schema.Array(
        Schema.Literals([
          0x41, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0, 0xc1, 0xc2, 0xdf, 0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf1,
          0xf4, 0xf5, 0xff
        ])
      )
    },
    ({ given }) => {
      const payload = Uint8Array.from(given)
      const fatal = new TextDecoder("utf-8", { fatal: true })
      let valid = true
      try {
        fatal.decode(payload)
      } catch {
        valid = false
      }
      return (utf8ErrorOffset(payload) === undefined) === valid
    },
    { arbitrary: { runs: 3_000 } }
  )

  it.each([
    ['{"a":1,}', 7],
    ['{"a":1', 6],
    ["", 0],
    ["   ", 3],
    ["[1 2]", 3],
    ['{"a" 1}', 5],
    ["01", 1],
    ['"a\nb"', 2],
    ["[1]]", 3],
    ['{"é":x}', 6]
  ])("in %j is byte %i", (text, offset) => {
    assert.strictEqual(jsonErrorOffset(bytes(text)), offset)
  })
})

const nested = (depth: number) => bytes(`${"[".repeat(depth)}"]]]{{{\\"["${"]".repeat(depth)}`)

describe("the bounds", () => {
  it.prop(
    "are those of the parsed value: depth and keys, whatever stands in its text",
    { value: Schema.Json },
    ({ value }) => {
      const payload = bytes(JSON.stringify(value, null, 1))
      const [depth, keys] = [depthOf(value), keysOf(value)]
      assert.isUndefined(checkStructure(payload, { depth, keys }))
      if (depth > 0) assert.strictEqual(checkStructure(payload, { depth: depth - 1, keys }), "PayloadTooDeep")
      if (keys > 0) assert.strictEqual(checkStructure(payload, { depth, keys: keys - 1 }), "TooManyMetrics")
    },
    { arbitrary: { runs: 500 } }
  )

  it("admit 64 levels and not 65, also when brackets stand in text", () => {
    assert.isUndefined(checkStructure(nested(64)))
    assert.strictEqual(checkStructure(nested(65)), "PayloadTooDeep")
  })

  it("hold before anything is parsed: a million open brackets are refused, not recursed into", () => {
    assert.strictEqual(
      Result.getOrThrow(Result.flip(decodeJson(bytes("[".repeat(1_000_000))))).reason,
      "PayloadTooDeep"
    )
  })
})

it.prop("what JSON.parse reads is read the same", { value: Schema.Json }, ({ value }) => {
  const text = JSON.stringify(value)
  assert.deepStrictEqual(Result.getOrThrow(decodeJson(bytes(text))), JSON.parse(text))
})

it("a byte order mark is skipped, and counts for the place of an error", () => {
  assert.deepStrictEqual(Result.getOrThrow(decodeJson(bytes("\uFEFF[1]"))), [1])
  assert.strictEqual(Result.getOrThrow(Result.flip(decodeJson(bytes("\uFEFF[1")))).offset, 5)
})

it("NaN and Infinity outside of text are read as infinite, inside they stay text", () => {
  assert.deepStrictEqual(
    Result.getOrThrow(decodeJson(bytes('{"a":NaN,"b":-Infinity,"c":"\\"NaN, Infinity","d":[Infinity]}'))),
    {
      a: Infinity,
      b: -Infinity,
      c: '"NaN, Infinity',
      d: [Infinity]
    }
  )
  assert.strictEqual(Result.getOrThrow(Result.flip(decodeJson(bytes('{"a":NaN,}')))).offset, 5)
})
