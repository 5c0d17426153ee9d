/**
 * A redis-server for the tests of one layer, and the product's client of it.
 * @module
 */
import * as RedisClient from "@argusiq/layers/redis/RedisClient.ts"
import { Context, Effect, Layer, Redacted } from "effect"
import { RedisServer } from "./redis.ts"

export class TestRedis extends Context.Service<TestRedis, RedisServer>()("argusiq/test/TestRedis") {}

export const testRedisServer: Layer.Layer<TestRedis> = Layer.effect(
  TestRedis,
  Effect.acquireRelease(
    Effect.promise(() => RedisServer.started()),
    (server) => Effect.promise(() => server.dispose())
  )
)

/** Another client of the same server, as another process has one. */
export const redisClient: Layer.Layer<RedisClient.RedisClient, never, TestRedis> = Layer.fresh(
  Layer.unwrap(Effect.map(TestRedis, (server) => RedisClient.layer(Redacted.make(server.url))))
)

export const testRedis: Layer.Layer<RedisClient.RedisClient | TestRedis> = Layer.provideMerge(
  redisClient,
  testRedisServer
)
