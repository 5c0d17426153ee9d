/**
 * A process that takes as many tokens of one bucket as it is granted, many at once, and prints how many.
 * @module
 */
import { RateLimit } from "@argusiq/layers/rate-limit/RateLimit.ts"
import * as RedisRateLimit from "@argusiq/layers/rate-limit/RedisRateLimit.ts"
import * as RedisClient from "@argusiq/layers/redis/RedisClient.ts"
import { Effect, Layer, Redacted } from "effect"

const count = Effect.gen(function* () {
  const limit = yield* RateLimit
  const attempts = Array.from({ length: 400 }, () => limit.take("shared", 200))
  const permits = yield* Effect.all(attempts, { concurrency: 50 })
  return permits.filter(({ _tag }) => _tag === "Granted").length
})

// Patient: a machine under load may hold an answer up, and what is counted without Redis would not be shared.
const redis = RedisClient.layer(Redacted.make(process.argv[2] ?? ""), 20_000)
console.log(await Effect.runPromise(Effect.provide(count, Layer.provide(RedisRateLimit.layer, redis))))
