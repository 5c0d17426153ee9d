import { CacheUnavailable } from "@argusiq/domain/errors.ts"
import * as MemoryCache from "@argusiq/layers/cache/MemoryCache.ts"
import { makeSecondLevel, type SecondLevel } from "@argusiq/layers/cache/SecondLevel.ts"
import { SharedCache, type SharedCacheAdapter } from "@argusiq/layers/cache/SharedCache.ts"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"

const KEY = "device:profile:1"
const value = (sequence: number) => new Map([[KEY, { sequence, value: `v${sequence}` }]])

/** Lets all that can run run until it waits. */
const settled = Effect.repeat(Effect.yieldNow, { times: 50 })

/** A cache that can be away. */
const makeCache = Effect.gen(function* () {
  const memory = yield* MemoryCache.make(100)
  if (memory === undefined) return yield* Effect.die("no cache")
  let away = false
  const unlessAway = <A>(effect: Effect.Effect<A, CacheUnavailable>) =>
    Effect.suspend(() => (away ? Effect.fail(new CacheUnavailable({ cause: new Error("away") })) : effect))
  const cache: SharedCacheAdapter = {
    get: (keys) => unlessAway(memory.get(keys)),
    put: (generation, values) => unlessAway(memory.put(generation, values)),
    note: (noted) => unlessAway(memory.note(noted)),
    begin: (replaces, sequence) => unlessAway(memory.begin(replaces, sequence)),
    bar: (key) => unlessAway(memory.bar(key)),
    announce: memory.announce,
    announcements: memory.announcements
  }
  return {
    memory,
    isAway: (now: boolean) => (away = now),
    /** A process that has checked the change sequence once. */
    process: Effect.fnUntraced(function* (sequence: number) {
      const level = yield* Effect.provideService(makeSecondLevel, SharedCache, cache)
      level.changedAll(sequence)
      yield* check(level, sequence)
      yield* check(level, sequence)
      return level
    })
  }
})

/** A regular check of the change sequence, and what comes of it. */
const check = (level: SecondLevel, sequence: number) =>
  Effect.andThen(
    Effect.sync(() => level.complete(sequence)),
    settled
  )
const found = (level: SecondLevel) => Effect.map(level.get([KEY]), ({ found }) => found.get(KEY)?.value)
const put = Effect.fnUntraced(function* (level: SecondLevel, sequence: number) {
  yield* level.put((yield* level.get([])).generation, value(sequence))
})

describe("what a process takes from the shared cache", () => {
  it.effect("is what another has put, also after other changes", () =>
    Effect.gen(function* () {
      const cache = yield* makeCache
      const one = yield* cache.process(10)
      yield* put(one, 10)
      one.changed("device:profile:2", 11)
      yield* check(one, 11)
      const two = yield* cache.process(11)
      assert.strictEqual(yield* found(one), "v10")
      assert.strictEqual(yield* found(two), "v10")
    })
  )

  it.effect("is never older than a change that it knows of, before anybody has told the cache", () =>
    Effect.gen(function* () {
      const cache = yield* makeCache
      const one = yield* cache.process(10)
      yield* put(one, 10)
      one.changed(KEY, 11)
      assert.isUndefined(yield* found(one))
    })
  )

  it.effect("is nothing from before its start while the cache does not vouch for that", () =>
    Effect.gen(function* () {
      const cache = yield* makeCache
      const one = yield* cache.process(10)
      yield* put(one, 10)
      const two = yield* cache.process(12)
      assert.isUndefined(yield* found(two))
      one.changed("device:profile:2", 11)
      one.changed("device:profile:2", 12)
      yield* check(one, 12)
      assert.strictEqual(yield* found(two), "v10", "bridged by one")
    })
  )

  it.effect("is nothing that was put after a change and loaded before it", () =>
    Effect.gen(function* () {
      const cache = yield* makeCache
      const one = yield* cache.process(10)
      const { generation } = yield* one.get([])
      one.changed(KEY, 11)
      yield* check(one, 11)
      yield* one.put(generation, value(10))
      yield* check(one, 11)
      assert.isUndefined(yield* found(yield* cache.process(11)))
    })
  )

  it.effect("is never older than what it could not put", () =>
    Effect.gen(function* () {
      const cache = yield* makeCache
      const one = yield* cache.process(10)
      yield* put(one, 10)
      const { generation } = yield* one.get([])
      cache.isAway(true)
      yield* one.put(generation, value(11))
      cache.isAway(false)
      assert.isUndefined(yield* found(one))
    })
  )

  it.effect("is nothing after changes were missed, until a generation has begun that nobody could bridge", () =>
    Effect.gen(function* () {
      const cache = yield* makeCache
      const one = yield* cache.process(10)
      yield* put(one, 10)
      one.changedAll(20)
      yield* check(one, 20)
      assert.isUndefined(yield* found(one))
      const { generation } = yield* one.get([])
      yield* TestClock.adjust("1 second")
      yield* check(one, 20)
      assert.strictEqual((yield* one.get([])).generation, generation, "another process may still bridge it")
      yield* TestClock.adjust("1 second")
      yield* check(one, 20)
      assert.notStrictEqual((yield* one.get([])).generation, generation)
      yield* put(one, 20)
      one.changed("device:profile:2", 21)
      yield* check(one, 21)
      yield* check(one, 21)
      assert.strictEqual(yield* found(yield* cache.process(21)), "v20", "the cache vouches again")
    })
  )

  it.effect("is nothing that the cache could not be told of while it was away", () =>
    Effect.gen(function* () {
      const cache = yield* makeCache
      const one = yield* cache.process(10)
      yield* put(one, 10)
      cache.isAway(true)
      one.changed(KEY, 11)
      yield* check(one, 11)
      cache.isAway(false)
      one.changed("device:profile:2", 12)
      yield* check(one, 12)
      assert.isUndefined(yield* found(one))
      const two = yield* cache.process(12)
      assert.isUndefined(yield* found(two))
      yield* TestClock.adjust("3 seconds")
      yield* check(one, 12)
      assert.isUndefined(yield* found(two))
      assert.strictEqual((yield* cache.memory.get([KEY])).found.size, 0)
    })
  )

  it.effect("is nothing of a database that was replaced by an older one", () =>
    Effect.gen(function* () {
      const cache = yield* makeCache
      const one = yield* cache.process(10)
      yield* put(one, 10)
      one.changedAll(4)
      assert.isUndefined(yield* found(one))
      yield* check(one, 4)
      yield* check(one, 4)
      assert.isUndefined(yield* found(one))
      yield* put(one, 4)
      assert.strictEqual(yield* found(one), "v4")
    })
  )

  it.effect("is nothing that was to be forgotten, also when the cache was away then", () =>
    Effect.gen(function* () {
      const cache = yield* makeCache
      const one = yield* cache.process(10)
      yield* put(one, 10)
      cache.isAway(true)
      yield* one.forget(KEY)
      cache.isAway(false)
      assert.isUndefined(yield* found(one))
      yield* check(one, 10)
      assert.strictEqual((yield* cache.memory.get([KEY])).found.size, 0)
      yield* put(one, 10)
      assert.strictEqual(yield* found(one), "v10")
      yield* one.forget(undefined)
      assert.isUndefined(yield* found(one))
    })
  )

  it.effect("is nothing without a shared cache", () =>
    Effect.gen(function* () {
      const level = yield* makeSecondLevel
      level.changedAll(1)
      yield* level.put("generation", value(1))
      assert.isUndefined(yield* found(level))
      assert.strictEqual((yield* Effect.flip(level.announce({ type: "all" })))._tag, "CacheUnavailable")
    })
  )
})
