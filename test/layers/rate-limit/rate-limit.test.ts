import * as MemoryRateLimit from "@argusiq/layers/rate-limit/MemoryRateLimit.ts"
import { RateLimit } from "@argusiq/layers/rate-limit/RateLimit.ts"
import * as RedisRateLimit from "@argusiq/layers/rate-limit/RedisRateLimit.ts"
import { RedisClient } from "@argusiq/layers/redis/RedisClient.ts"
import { assert, it, layer } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { spawn } from "node:child_process"
import { randomUUID } from "node:crypto"
import { once } from "node:events"
import { fileURLToPath } from "node:url"
import { redisClient, TestRedis, testRedis } from "../../support/components/redisLayer.ts"
import { nodeBinary } from "../../support/PlatformProcess.ts"
import { BucketTime, granted, grantedOf, rateLimitSuite } from "./RateLimitContract.ts"

rateLimitSuite(
  "memory",
  it.effect,
  Layer.merge(MemoryRateLimit.layer(), Layer.succeed(BucketTime, { passes: (_, millis) => TestClock.adjust(millis) }))
)

/** Redis has a clock of its own: time passes for a bucket by making it older. */
const redisTime = Layer.effect(
  BucketTime,
  Effect.map(RedisClient, (redis) => ({
    passes: (key: string, millis: number) =>
      Effect.orDie(Effect.asVoid(redis.use((client) => client.hincrbyfloat(`rate-limit:${key}`, "filledAt", -millis))))
  }))
)
rateLimitSuite("Redis", it.live, Layer.merge(RedisRateLimit.layer, redisTime).pipe(Layer.provide(testRedis)))

it.effect("in memory forgets the least recently used beyond its bound", () =>
  Effect.gen(function* () {
    assert.isTrue(yield* granted("a", 1))
    assert.isTrue(yield* granted("b", 1))
    assert.isFalse(yield* granted("a", 1))
    assert.isTrue(yield* granted("c", 1)) // b is forgotten, a was used later
    assert.isFalse(yield* granted("a", 1))
    assert.isTrue(yield* granted("b", 1))
  }).pipe(Effect.provide(MemoryRateLimit.layer({ maxKeys: 2 })))
)

/** How many of 400 simultaneous attempts at a limit of 200 another process was granted. */
const grantedElsewhere = async (url: string) => {
  const child = spawn(nodeBinary, [fileURLToPath(new URL("takeTokens.ts", import.meta.url)), url], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  let told = ""
  child.stdout.on("data", (data: Buffer) => (told += data.toString()))
  await once(child, "close")
  return Number(told)
}

layer(testRedis, { excludeTestServices: true })("the rate limit in Redis", (it) => {
  it.effect("grants no more to two processes at once than to one", () =>
    Effect.gen(function* () {
      const { url } = yield* TestRedis
      const counts = yield* Effect.promise(() => Promise.all([grantedElsewhere(url), grantedElsewhere(url)]))
      const sum = counts.reduce((all, one) => all + one, 0)
      // Between the first attempt and the last the bucket goes on filling, by 200 a minute.
      assert.isAtLeast(sum, 200, `granted ${counts.join(" and ")}`)
      assert.isAtMost(sum, 220, `granted ${counts.join(" and ")}`)
    })
  )

  it.effect("is counted per process while Redis is away, and together again when it is back", () =>
    Effect.gen(function* () {
      const server = yield* TestRedis
      const other = Layer.provide(RedisRateLimit.layer, redisClient)
      const one = Context.get(yield* Layer.build(other), RateLimit)
      const two = Context.get(yield* Layer.build(Layer.fresh(other)), RateLimit)
      const from = (limit: typeof one, key: string) => Effect.provideService(grantedOf(10, key, 5), RateLimit, limit)
      assert.deepStrictEqual([yield* from(one, "a"), yield* from(two, "a")], [5, 0])
      yield* Effect.promise(() => server.kill())
      assert.deepStrictEqual([yield* from(one, "b"), yield* from(two, "b")], [5, 5])
      yield* Effect.promise(() => server.start())
      const together = Effect.gen(function* () {
        const key = randomUUID()
        return [yield* from(one, key), yield* from(two, key)].join() === "5,0"
      })
      yield* Effect.repeat(Effect.delay(together, 200), { until: (are) => are })
    })
  )
})
