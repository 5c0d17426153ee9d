import * as MemoryCache from "@argusiq/layers/cache/MemoryCache.ts"
import * as RedisCache from "@argusiq/layers/cache/RedisCache.ts"
import { assert, it } from "@effect/vitest"
import { Layer } from "effect"
import { testRedis } from "../../support/components/redisLayer.ts"
import { cacheSuite } from "./SharedCacheContract.ts"

cacheSuite("memory", MemoryCache.layer({ limit: 10_000 }))
cacheSuite("Redis", RedisCache.layer.pipe(Layer.provide(testRedis)))

it("understands every form of an invalidation, and takes what it does not understand for all", () => {
  const all = { type: "all" }
  const meaning = (channel: string, message = "") => RedisCache.parseAnnouncement(channel, message) as object
  assert.deepStrictEqual(meaning("cache:invalidate", '{"type":"device-type","id":"7"}'), {
    type: "device-type",
    id: "7"
  })
  assert.deepStrictEqual(meaning("cache:invalidate", '{"type":"all"}'), all)
  assert.deepStrictEqual(meaning("cache:invalidate", "what?"), all)
  assert.deepStrictEqual(meaning("cache:invalidate:device:a:b"), { type: "device", id: "a:b" })
  assert.deepStrictEqual(meaning("cache:invalidate:device-type:7"), { type: "device-type", id: "7" })
  assert.deepStrictEqual(meaning("cache:invalidate:all"), all)
  assert.deepStrictEqual(meaning("cache:invalidate:pump:7"), all)
})
