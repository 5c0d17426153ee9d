import * as MemoryRateLimit from "@argusiq/layers/rate-limit/MemoryRateLimit.ts"
import { RateLimit } from "@argusiq/layers/rate-limit/RateLimit.ts"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"

const granted = Effect.fnUntraced(function* (key: string, perMinute: number) {
  return (yield* (yield* RateLimit).take(key, perMinute))._tag === "Granted"
})
const grantedOf = Effect.fnUntraced(function* (attempts: number, key: string, perMinute: number) {
  let count = 0
  for (let attempt = 0; attempt < attempts; attempt++) if (yield* granted(key, perMinute)) count++
  return count
})

it.effect("grants a full bucket at once, then evenly over the minute, never more than a bucket", () =>
  Effect.gen(function* () {
    assert.strictEqual(yield* grantedOf(150, "device", 100), 100)
    yield* TestClock.adjust("599 millis")
    assert.isFalse(yield* granted("device", 100))
    yield* TestClock.adjust("1 millis")
    assert.isTrue(yield* granted("device", 100))
    yield* TestClock.adjust("1 hour")
    assert.strictEqual(yield* grantedOf(150, "device", 100), 100)
  }).pipe(Effect.provide(MemoryRateLimit.layer()))
)

it.effect("says after how many seconds the next is granted, at least one", () =>
  Effect.gen(function* () {
    const limit = yield* RateLimit
    yield* grantedOf(2, "slow", 2)
    assert.deepStrictEqual(yield* limit.take("slow", 2), { _tag: "Exceeded", retryAfterSeconds: 30 })
    yield* TestClock.adjust("30 seconds")
    assert.isTrue(yield* granted("slow", 2))
    yield* grantedOf(6_000, "fast", 6_000)
    assert.deepStrictEqual(yield* limit.take("fast", 6_000), { _tag: "Exceeded", retryAfterSeconds: 1 })
  }).pipe(Effect.provide(MemoryRateLimit.layer()))
)

it.effect("keeps keys apart, knows 0 as no limit, and forgets the least recently used beyond its bound", () =>
  Effect.gen(function* () {
    assert.strictEqual(yield* grantedOf(500, "free", 0), 500)
    assert.isTrue(yield* granted("a", 1))
    assert.isTrue(yield* granted("b", 1))
    assert.isFalse(yield* granted("a", 1))
    assert.isTrue(yield* granted("c", 1)) // b is forgotten, a was used later
    assert.isFalse(yield* granted("a", 1))
    assert.isTrue(yield* granted("b", 1))
  }).pipe(Effect.provide(MemoryRateLimit.layer({ maxKeys: 2 })))
)
