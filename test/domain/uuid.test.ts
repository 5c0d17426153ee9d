import { bytesToUuid, isUuid, readingIdOf, uuidToBytes, uuidV5, uuidV7, uuidV7Instant } from "@argusiq/domain/uuid.ts"
import { Uuid } from "@argusiq/domain/ids.ts"
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { createHash } from "node:crypto"

const Bytes16 = Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 255 }))).check(
  Schema.isMinLength(16),
  Schema.isMaxLength(16)
)
const Entity = Schema.String.check(Schema.isUUID())
const Instant = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }))

describe("version 5", () => {
  const dns = "6ba7b810-9dad-11d1-80b4-00c04fd430c8"
  const url = "6ba7b811-9dad-11d1-80b4-00c04fd430c8"
  it.each([
    [dns, "www.example.com", "2ed6657d-e927-568b-95e1-2665a8aea6a2"], // RFC 9562, appendix A.4
    [dns, "python.org", "886313e1-3b8a-5372-9b90-0c9aee199e5d"], // Python's documentation of uuid5
    [dns, "www.widgets.com", "21f7f8de-8051-5b89-8680-0195ef798b6a"], // PostgreSQL's and RFC 4122's example
    [url, "http://python.org/", "4c565f0d-3f5a-5890-b41b-20cf47701c5e"]
  ])("of %s and %s is the published one", (namespace, name, expected) => {
    assert.strictEqual(uuidV5(namespace, name), expected)
    assert.strictEqual(uuidV5(namespace.toUpperCase(), name), expected)
  })

  it.prop(
    "is SHA-1 of namespace and UTF-8 name, cut and marked",
    { namespace: Entity, name: Schema.String },
    (given) => {
      const digest = createHash("sha1").update(uuidToBytes(given.namespace)).update(given.name.toWellFormed()).digest()
      digest[6] = (digest[6]! & 0x0f) | 0x50
      digest[8] = (digest[8]! & 0x3f) | 0x80
      return uuidV5(given.namespace, given.name) === bytesToUuid(digest)
    }
  )

  it("takes names longer than any before", () => {
    const long = "ü".repeat(5_000)
    assert.strictEqual(uuidV5(dns, long), uuidV5(dns, long))
    assert.notStrictEqual(uuidV5(dns, long), uuidV5(dns, `${long}x`))
  })
})

describe("version 7", () => {
  it("of the RFC's instant and randomness is the RFC's example", () => {
    const random = uuidToBytes("00000000-0000-0000-98c4-dc0c0c07398f").slice(6)
    const id = uuidV7(0x017f22e279b0 * 1000, random)
    assert.strictEqual(id, "017f22e2-79b0-7000-98c4-dc0c0c07398f")
  })

  it.prop(
    "sorts as its instants, and tells the millisecond",
    { one: Instant, other: Instant, random: Bytes16 },
    (given) => {
      const random = Uint8Array.from(given.random)
      const [one, other] = [uuidV7(given.one, random), uuidV7(given.other, random)]
      assert.isTrue(Schema.is(Uuid)(one), one)
      assert.strictEqual(uuidV7Instant(one), Math.floor(given.one / 1000) * 1000)
      const apart = Math.abs(given.one - given.other) >= 1
      if (apart) assert.strictEqual(one < other, given.one < given.other)
    }
  )
})

it.prop("bytes and text are two forms of the same id", { given: Bytes16 }, ({ given }) => {
  const text = bytesToUuid(Uint8Array.from(given))
  assert.deepStrictEqual([...uuidToBytes(text)], given)
  assert.deepStrictEqual([...uuidToBytes(text.toUpperCase())], given)
})

it("only 36 characters of hex and hyphens are a UUID", () => {
  assert.isTrue(isUuid("2ED6657d-e927-568b-95e1-2665a8aea6a2"))
  for (const text of [
    "",
    "2ed6657de927568b95e12665a8aea6a2",
    "2ed6657d-e927-568b-95e1-2665a8aea6ag",
    "{2ed6657d-e927-568b-95e1-2665a8aea6}"
  ]) {
    assert.isFalse(isUuid(text), text)
  }
  assert.throws(() => uuidToBytes("device-1"), RangeError)
})

it.prop(
  "a reading's id changes with everything that identifies it",
  { entity: Entity, ts: Instant, index: Schema.Int, part: Schema.Int },
  ({ entity, index, part, ts }) => {
    const ids = new Set([
      readingIdOf(entity, ts, "ab", index, part),
      readingIdOf(entity, ts === 0 ? 1 : ts - 1, "ab", index, part),
      readingIdOf(entity, ts, "ac", index, part),
      readingIdOf(entity, ts, "ab", index + 1, part),
      readingIdOf(entity, ts, "ab", index, part + 1),
      readingIdOf("6ba7b810-9dad-11d1-80b4-00c04fd430c8", ts, "ab", index, part)
    ])
    return ids.size === 6
  }
)
