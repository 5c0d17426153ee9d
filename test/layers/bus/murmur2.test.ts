import { murmur2, partitionOf } from "@argusiq/layers/bus/murmur2.ts"
import { assert, describe, it } from "@effect/vitest"

const bytes = (text: string) => new TextEncoder().encode(text)

describe("murmur2", () => {
  it("gives the values of Kafka's own test", () => {
    const expected: ReadonlyArray<readonly [string, number]> = [
      ["21", -973_932_308],
      ["foobar", -790_332_482],
      ["a-little-bit-long-string", -985_981_536],
      ["a-little-bit-longer-string", -1_486_304_829],
      ["lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971],
      ["abc", 479_470_107]
    ]
    for (const [text, hash] of expected) assert.strictEqual(murmur2(bytes(text)), hash, text)
  })

  it("hashes a part of a buffer as if it were alone", () => {
    assert.strictEqual(murmur2(bytes("xxfoobaryy"), 2, 8), -790_332_482)
  })

  it("gives a partition in range for every key, also for an empty one and for a negative hash", () => {
    for (const key of ["", "21", "foobar", "€", ...Array.from({ length: 500 }, (_, i) => `device-${i}`)]) {
      const partition = partitionOf(12, bytes(key))
      assert.isTrue(Number.isInteger(partition) && partition >= 0 && partition < 12, `${key}: ${partition}`)
    }
    assert.strictEqual(partitionOf(12, bytes("21")), (-973_932_308 & 0x7fffffff) % 12)
  })
})
