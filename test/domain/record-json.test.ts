import { jsonBytes, parseNormalized, parseRecord } from "@argusiq/domain/record-json.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"

const value = jsonBytes({ messageId: "m", readings: [] })

describe("a record of normalized readings", () => {
  it("that several get is parsed once: all get the same message", () => {
    const record = { value, parsed: null }
    const first = Result.getOrThrow(parseNormalized(record))
    assert.strictEqual(Result.getOrThrow(parseNormalized(record)), first)
  })

  it("that one alone gets keeps nothing of what was parsed", () => {
    const record = { value }
    assert.deepStrictEqual(Result.getOrThrow(parseNormalized(record)), Result.getOrThrow(parseNormalized(record)))
    assert.deepStrictEqual(Object.keys(record), ["value"])
  })

  it("that is none is refused to each of them, in its own words", () => {
    const record = { value: Buffer.from("[1"), parsed: null }
    for (const what of ["a normalized message", "a reading"]) {
      const read = parseRecord(record, what)
      if (Result.isSuccess(read)) return assert.fail("it was to be refused")
      assert.match(read.failure.message, new RegExp(`^Not ${what}: SyntaxError`))
    }
    assert.isNull(record.parsed)
  })
})
