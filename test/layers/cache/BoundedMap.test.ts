import { assert, it } from "@effect/vitest"
import { BoundedMap } from "@argusiq/layers/cache/BoundedMap.ts"

it("never holds more than its limit, and keeps what is asked for", () => {
  const map = new BoundedMap<number>(100)
  map.set("kept", -1)
  for (let key = 0; key < 10_000; key++) {
    map.set(String(key), key)
    assert.isAtMost(map.size, 100)
    assert.strictEqual(map.get("kept"), -1)
  }
  assert.strictEqual(map.get("9999"), 9_999)
  assert.isUndefined(map.get("0"))
})

it("gives the last value set, whichever generation held the earlier one", () => {
  const map = new BoundedMap<number>(4)
  map.set("a", 1)
  map.set("b", 2)
  map.set("c", 3)
  map.set("a", 4)
  assert.strictEqual(map.get("a"), 4)
  map.delete("a")
  assert.isUndefined(map.get("a"))
})
