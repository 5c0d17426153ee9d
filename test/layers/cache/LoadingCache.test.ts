import { assert, describe, it } from "@effect/vitest"
import { makeLoadingCache } from "@argusiq/layers/cache/LoadingCache.ts"
import { Deferred, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"

/** A source whose loads are counted and can be held back. */
const makeSource = () => {
  const rows = new Map<string, string>()
  const loads: Array<ReadonlyArray<string>> = []
  let gate: Deferred.Deferred<void> | undefined
  return {
    rows,
    loads,
    hold: () => (gate = Deferred.makeUnsafe<void>()),
    load: (keys: ReadonlyArray<string>) =>
      Effect.gen(function* () {
        loads.push(keys)
        const held = gate
        gate = undefined
        const snapshot = new Map(keys.flatMap((key) => (rows.has(key) ? [[key, rows.get(key)!]] : [])))
        if (held !== undefined) yield* Deferred.await(held)
        return snapshot
      })
  }
}

/** Lets all that can run run until it waits. */
const settled = Effect.repeat(Effect.yieldNow, { times: 20 })

describe("LoadingCache", () => {
  it.effect("loads once for many waiters, and the misses of a batch together", () =>
    Effect.gen(function* () {
      const source = makeSource()
      source.rows.set("a", "1").set("b", "2")
      const cache = yield* makeLoadingCache({ limit: 10, load: source.load })
      const gate = source.hold()
      const waiting = yield* Effect.forkChild(
        Effect.all(
          Array.from({ length: 50 }, () => cache.getAll(["a", "b", "absent"])),
          { concurrency: "unbounded" }
        )
      )
      yield* settled
      yield* Deferred.succeed(gate, undefined)
      const answers = yield* Fiber.join(waiting)
      for (const answer of answers)
        assert.deepStrictEqual([...answer].toSorted(), [
          ["a", "1"],
          ["b", "2"]
        ])
      assert.deepStrictEqual(source.loads, [["a", "b", "absent"]])
      yield* cache.getAll(["a", "b"])
      assert.lengthOf(source.loads, 1)
    })
  )

  it.effect("does not keep what was loaded before an invalidation, and later askers do not get it", () =>
    Effect.gen(function* () {
      const source = makeSource()
      source.rows.set("a", "old")
      const cache = yield* makeLoadingCache({ limit: 10, load: source.load })
      const gate = source.hold()
      const early = yield* Effect.forkChild(cache.getAll(["a"]))
      yield* settled
      assert.lengthOf(source.loads, 1)
      source.rows.set("a", "new")
      cache.invalidate("a")
      const late = yield* Effect.forkChild(cache.getAll(["a"]))
      yield* settled
      yield* Deferred.succeed(gate, undefined)
      assert.strictEqual((yield* Fiber.join(early)).get("a"), "old")
      assert.strictEqual((yield* Fiber.join(late)).get("a"), "new")
      assert.strictEqual(cache.peek("a"), "new")
    })
  )

  it.effect("forgets what an invalidated load brings, when nobody asks again", () =>
    Effect.gen(function* () {
      const source = makeSource()
      source.rows.set("a", "old")
      const cache = yield* makeLoadingCache({ limit: 10, load: source.load })
      const gate = source.hold()
      const waiting = yield* Effect.forkChild(cache.getAll(["a"]))
      yield* settled
      cache.clear()
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(waiting)
      assert.isUndefined(cache.peek("a"))
    })
  )

  it.effect("loads again what has been overtaken while it was loading", () =>
    Effect.gen(function* () {
      let current = "old"
      const source = makeSource()
      source.rows.set("a", "old")
      const cache = yield* makeLoadingCache({
        limit: 10,
        load: (keys) => Effect.tap(source.load(keys), () => Effect.sync(() => source.rows.set("a", (current = "new")))),
        isCurrent: (value) => value === current
      })
      assert.strictEqual((yield* cache.getAll(["a"])).get("a"), "new")
      assert.lengthOf(source.loads, 2)
    })
  )

  it.effect("asks again for what was absent, at a bounded rate and before it says so", () =>
    Effect.gen(function* () {
      const source = makeSource()
      const cache = yield* makeLoadingCache({ limit: 10, load: source.load, recheckMillis: 50 })
      for (let asked = 0; asked < 3; asked++)
        assert.strictEqual((yield* cache.getAll(["a"]).pipe(Effect.timeout(1))).size, 0)
      assert.fail("the third question came before the pause was over")
    }).pipe(
      Effect.catchTag("TimeoutError", () => Effect.void),
      Effect.forkChild,
      Effect.flatMap((fiber) => Effect.andThen(TestClock.adjust("10 millis"), Fiber.join(fiber)))
    )
  )

  it.effect("finds at once what has come into being since it was absent", () =>
    Effect.gen(function* () {
      const source = makeSource()
      const cache = yield* makeLoadingCache({ limit: 10, load: source.load })
      assert.strictEqual((yield* cache.getAll(["a"])).size, 0)
      source.rows.set("a", "1")
      assert.strictEqual((yield* cache.getAll(["a"])).get("a"), "1")
    })
  )

  it.effect("gives a failure to all who waited and keeps nothing of it", () =>
    Effect.gen(function* () {
      let failing = true
      const cache = yield* makeLoadingCache({
        limit: 10,
        load: () => (failing ? Effect.fail("away" as const) : Effect.succeed(new Map([["a", 1]])))
      })
      assert.strictEqual(yield* Effect.flip(cache.getAll(["a"])), "away")
      failing = false
      assert.strictEqual((yield* cache.getAll(["a"])).get("a"), 1)
    })
  )

  it.effect("splits what exceeds one load over several", () =>
    Effect.gen(function* () {
      const source = makeSource()
      for (let key = 0; key < 25; key++) source.rows.set(String(key), "x")
      const cache = yield* makeLoadingCache({ limit: 100, load: source.load, loadLimit: 10 })
      assert.strictEqual((yield* cache.getAll(source.rows.keys())).size, 25)
      assert.deepStrictEqual(
        source.loads.map((keys) => keys.length),
        [10, 10, 5]
      )
    })
  )
})
