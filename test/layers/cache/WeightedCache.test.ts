import { assert, it } from "@effect/vitest"
import { WeightedCache } from "@argusiq/layers/cache/WeightedCache.ts"

it("never holds more weight than its limit, and drops what was not asked for longest", () => {
  const cache = new WeightedCache<string>(10)
  cache.set("a", "A", 4)
  cache.set("b", "B", 4)
  assert.strictEqual(cache.get("a"), "A")
  cache.set("c", "C", 4)
  assert.isUndefined(cache.get("b"))
  assert.strictEqual(cache.get("a"), "A")
  assert.strictEqual(cache.get("c"), "C")
})

it("does not hold what is too heavy, and weighs a key anew when it is set again", () => {
  const cache = new WeightedCache<string>(10)
  cache.set("a", "A", 8)
  cache.set("heavy", "H", 11)
  assert.isUndefined(cache.get("heavy"))
  assert.strictEqual(cache.get("a"), "A")
  cache.set("a", "A2", 2)
  cache.set("b", "B", 8)
  assert.deepStrictEqual([cache.get("a"), cache.get("b")], ["A2", "B"])
})
