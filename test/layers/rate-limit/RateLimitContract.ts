/**
 * What every adapter that counts must do.
 * @module
 */
import { RateLimit } from "@argusiq/layers/rate-limit/RateLimit.ts"
import { assert, describe, type it } from "@effect/vitest"
import { Context, Effect, type Layer } from "effect"
import { randomUUID } from "node:crypto"

/** Time as the adapter's buckets know it. */
export class BucketTime extends Context.Service<
  BucketTime,
  { readonly passes: (key: string, millis: number) => Effect.Effect<void> }
>()("argusiq/test/layers/rate-limit/BucketTime") {}

export const granted = Effect.fnUntraced(function* (key: string, perMinute: number) {
  return (yield* (yield* RateLimit).take(key, perMinute))._tag === "Granted"
})
export const grantedOf = Effect.fnUntraced(function* (attempts: number, key: string, perMinute: number) {
  let count = 0
  for (let attempt = 0; attempt < attempts; attempt++) if (yield* granted(key, perMinute)) count++
  return count
})

/** `test`: on a test clock, or on the real one where the adapter talks to something outside. */
export const rateLimitSuite = (name: string, test: typeof it.live, adapter: Layer.Layer<RateLimit | BucketTime>) => {
  describe(`the rate limit (${name})`, () => {
    test("grants a full bucket at once, then evenly over the minute, never more than a bucket", () =>
      Effect.gen(function* () {
        const { passes } = yield* BucketTime
        const key = randomUUID()
        assert.strictEqual(yield* grantedOf(30, key, 20), 20)
        yield* passes(key, 2_000)
        assert.isFalse(yield* granted(key, 20))
        yield* passes(key, 1_000)
        assert.isTrue(yield* granted(key, 20))
        assert.isFalse(yield* granted(key, 20))
        yield* passes(key, 59_000)
        assert.strictEqual(yield* grantedOf(30, key, 20), 19)
        yield* passes(key, 3_600_000)
        assert.strictEqual(yield* grantedOf(30, key, 20), 20)
      }).pipe(Effect.provide(adapter)))

    test("says after how many seconds the next is granted, at least one", () =>
      Effect.gen(function* () {
        const { passes } = yield* BucketTime
        const limit = yield* RateLimit
        const slow = randomUUID()
        yield* grantedOf(2, slow, 2)
        assert.deepStrictEqual(yield* limit.take(slow, 2), { _tag: "Exceeded", retryAfterSeconds: 30 })
        yield* passes(slow, 30_000)
        assert.isTrue(yield* granted(slow, 2))
        const fast = randomUUID()
        yield* grantedOf(20, fast, 20)
        assert.deepStrictEqual(yield* limit.take(fast, 20), { _tag: "Exceeded", retryAfterSeconds: 3 })
        yield* passes(fast, 2_100)
        assert.deepStrictEqual(yield* limit.take(fast, 20), { _tag: "Exceeded", retryAfterSeconds: 1 })
      }).pipe(Effect.provide(adapter)))

    test("keeps keys apart, and knows 0 as no limit", () =>
      Effect.gen(function* () {
        const [free, a, b] = [randomUUID(), randomUUID(), randomUUID()]
        assert.strictEqual(yield* grantedOf(500, free, 0), 500)
        assert.isTrue(yield* granted(a, 1))
        assert.isTrue(yield* granted(b, 1))
        assert.isFalse(yield* granted(a, 1))
      }).pipe(Effect.provide(adapter)))

    test("fills the bucket anew when the limit changes", () =>
      Effect.gen(function* () {
        const key = randomUUID()
        assert.strictEqual(yield* grantedOf(5, key, 3), 3)
        assert.strictEqual(yield* grantedOf(20, key, 10), 10)
        assert.strictEqual(yield* grantedOf(5, key, 3), 3)
      }).pipe(Effect.provide(adapter)))
  })
}
