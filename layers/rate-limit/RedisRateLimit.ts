/**
 * Token buckets that all processes share, in Redis by its clock: a script takes the token, so that no two processes take the
 * same one. While Redis is away each process counts for itself, so that up to as many times the limit may be granted as there
 * are processes.
 * @module
 */
import { Effect, Layer } from "effect"
import { RedisClient, script } from "../redis/RedisClient.ts"
import { makeMemoryRateLimit } from "./MemoryRateLimit.ts"
import { exceeded, granted, RateLimit } from "./RateLimit.ts"

/** KEYS: bucket. VALUES: tokens per minute. Answers with the milliseconds until the next token, 0 when one was taken. A bucket
 * that nobody asked for a minute is full, so it need not be kept. */
const take = script(`local perMinute = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local bucket = redis.call('HMGET', KEYS[1], 'perMinute', 'tokens', 'filledAt')
local tokens = perMinute
if bucket[1] == ARGV[1] then
  tokens = math.min(perMinute, bucket[2] + math.max(0, now - bucket[3]) * perMinute / 60000)
end
local wait = 0
if tokens >= 1 then tokens = tokens - 1 else wait = math.ceil((1 - tokens) * 60000 / perMinute) end
redis.call('HSET', KEYS[1], 'perMinute', ARGV[1], 'tokens', string.format('%.17g', tokens),
  'filledAt', string.format('%.3f', now))
redis.call('PEXPIRE', KEYS[1], 60000)
return wait`)

export const layer: Layer.Layer<RateLimit, never, RedisClient> = Layer.effect(
  RateLimit,
  Effect.gen(function* () {
    const redis = yield* RedisClient
    const alone = makeMemoryRateLimit()
    return RateLimit.of({
      take: (key, perMinute) => {
        if (perMinute <= 0) return Effect.succeed(granted)
        return redis
          .run(take, () => ({ keys: [`rate-limit:${key}`], values: [perMinute] }))
          .pipe(
            Effect.map((wait) => (wait === 0 ? granted : exceeded(Number(wait)))),
            Effect.catch(() => alone.take(key, perMinute))
          )
      }
    })
  })
)
