/**
 * Redis as the adapter of Socket.IO wants it: one connection that publishes and one that listens. Neither is needed: what is
 * published while Redis is away is lost, and what listens comes back by itself.
 * @module
 */
import { Effect, Redacted } from "effect"
import { Redis, type RedisOptions } from "ioredis"

const MOST_RECONNECT_MILLIS = 1_000

const options = {
  lazyConnect: true,
  connectTimeout: 1_000,
  retryStrategy: (attempt: number) => Math.min(MOST_RECONNECT_MILLIS, 50 * 2 ** Math.min(attempt, 10))
} satisfies RedisOptions

/** It connects again by itself; whoever needs Redis says that it is away. */
const opened = (make: () => Redis) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const redis = make()
      redis.on("error", () => {})
      redis.connect().catch(() => {})
      return redis
    }),
    (redis) => Effect.sync(() => redis.disconnect())
  )

const ignore = (attempt: Promise<unknown>) => void attempt.catch(() => {})

/** Both connections go on connecting until the scope closes. Nothing of it throws or rejects while Redis is away. */
export const socketChannels = Effect.fnUntraced(function* (url: Redacted.Redacted) {
  const address = Redacted.value(url)
  const publishes = { ...options, enableOfflineQueue: false, maxRetriesPerRequest: 0, commandTimeout: 1_000 }
  const publisher = yield* opened(() => new Redis(address, publishes))
  const listening = yield* opened(() => new Redis(address, { ...options, maxRetriesPerRequest: null }))
  return {
    /** What is published on one server reaches all of its databases. */
    prefix: `argusiq/${listening.options.db ?? 0}/realtime`,
    publisher: {
      publish: (channel: string, message: string | Buffer) => ignore(publisher.publish(channel, message)),
      on: publisher.on.bind(publisher),
      off: publisher.off.bind(publisher)
    },
    listening: {
      subscribe: (channels: ReadonlyArray<string>) => ignore(listening.subscribe(...channels)),
      psubscribe: (pattern: string) => ignore(listening.psubscribe(pattern)),
      unsubscribe: (channels: ReadonlyArray<string>) => ignore(listening.unsubscribe(...channels)),
      punsubscribe: (pattern: string) => ignore(listening.punsubscribe(pattern)),
      on: listening.on.bind(listening),
      off: listening.off.bind(listening)
    }
  }
})
