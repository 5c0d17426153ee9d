import { Poison } from "@argusiq/domain/errors.ts"
import { entryLetters, failureOf } from "@argusiq/domain/failed-entries.ts"
import { assert, describe, it } from "@effect/vitest"

const failed = (count: number) =>
  Array.from({ length: count }, (_, index) => ({
    index: index * 2,
    error: new Poison({ reason: "ExtractionFailed", message: `entry ${index * 2} is odd`, path: `$[${index * 2}]` })
  }))
const record = (bytes: number) => ({ value: new Uint8Array(bytes) })

describe("the dead letters of a message's entries", () => {
  it("are one for each, in their order", () => {
    const letters = entryLetters(record(100), failed(3))
    assert.deepStrictEqual(
      letters.map(({ entry, error }) => [entry, error.message]),
      [
        [0, "entry 0 is odd"],
        [2, "entry 2 is odd"],
        [4, "entry 4 is odd"]
      ]
    )
    assert.deepStrictEqual(entryLetters(record(100), []), [])
  })

  it("are never more bytes than a mebibyte: of a large message one stands for all, and for the whole message", () => {
    const large = record(400_000)
    assert.lengthOf(entryLetters(large, failed(2)), 2)
    const letters = entryLetters(large, failed(3))
    assert.lengthOf(letters, 1)
    assert.notProperty(letters[0], "entry")
    assert.strictEqual(letters[0]!.error.reason, "ExtractionFailed")
    assert.strictEqual(letters[0]!.error.message, "3 entries failed, the first of them entry 0: entry 0 is odd")
  })

  it("name the entry also when a single one in a large message fails", () => {
    assert.strictEqual(entryLetters(record(8_000_000), failed(1))[0]!.entry, 0)
  })

  it("are told of as one entry, or as several with the first of them", () => {
    assert.strictEqual(failureOf(failed(1)), "Entry 0 failed: entry 0 is odd")
    assert.strictEqual(failureOf(failed(2)), "2 entries failed, the first of them entry 0: entry 0 is odd")
  })
})
