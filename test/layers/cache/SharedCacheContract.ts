/**
 * What every cache that processes share must do.
 * @module
 */
import { SharedCache, type SharedCacheAdapter } from "@argusiq/layers/cache/SharedCache.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, type Layer } from "effect"
import { randomUUID } from "node:crypto"

const theCache = Effect.map(SharedCache, (cache) => {
  if (cache === undefined) throw new Error("no cache was given")
  return cache
})

const values = (entries: Record<string, readonly [sequence: number, value: string]>) =>
  new Map(Object.entries(entries).map(([key, [sequence, value]]) => [key, { sequence, value }]))

const generationOf = (cache: SharedCacheAdapter) =>
  Effect.map(cache.get([]), ({ generation }) => {
    if (generation === undefined) throw new Error("no generation has begun")
    return generation
  })

/** A generation that nobody has put anything into. */
const begun = (sequence: number) =>
  Effect.gen(function* () {
    const cache = yield* theCache
    yield* cache.begin((yield* cache.get([])).generation, sequence)
    const generation = yield* generationOf(cache)
    const key = (name: string) => `device:profile:${name}-${generation}`
    const valueOf = (of: string) => Effect.map(cache.get([of]), ({ found }) => found.get(of)?.value)
    return { cache, generation, key, valueOf }
  })

const noChanges = new Map<string, number>()

export const cacheSuite = (name: string, adapter: Layer.Layer<never>) => {
  layer(adapter, { excludeTestServices: true })(`the shared cache (${name})`, (it) => {
    it.effect("keeps nothing before a generation has begun", () =>
      Effect.gen(function* () {
        const cache = yield* theCache
        assert.isUndefined((yield* cache.get(["device:profile:1"])).generation)
        assert.isFalse(yield* cache.put(randomUUID(), values({ "device:profile:1": [5, "a"] })))
        const noted = yield* cache.note({ changes: noChanges, seen: 9, through: 9, claim: undefined })
        assert.isUndefined(noted.generation)
        yield* cache.begin(undefined, 7)
        const answer = yield* cache.get(["device:profile:1"])
        assert.isDefined(answer.generation)
        assert.strictEqual(answer.through, 7)
        assert.strictEqual(answer.found.size, 0)
      })
    )

    it.effect("gives what was put, with its number, whatever is in it", () =>
      Effect.gen(function* () {
        const { cache, generation, key } = yield* begun(1)
        const put = values({ [key("a")]: [1, '{"a": "ü \\n 1 2"}'], [key("b")]: [2, "x"] })
        assert.isTrue(yield* cache.put(generation, put))
        assert.deepStrictEqual((yield* cache.get([key("a"), key("absent"), key("b")])).found, put)
      })
    )

    it.effect("gives and takes more than a thousand at once", () =>
      Effect.gen(function* () {
        const { cache, generation, key } = yield* begun(1)
        const put = new Map(
          Array.from({ length: 1_234 }, (_, index) => [key(String(index)), { sequence: index + 1, value: `v${index}` }])
        )
        yield* cache.put(generation, put)
        assert.deepStrictEqual((yield* cache.get([...put.keys()])).found, put)
        const changes = new Map([...put.keys()].map((of) => [of, 1_000]))
        yield* cache.note({ changes, seen: 1_000, through: 0, claim: undefined })
        assert.strictEqual((yield* cache.get([...put.keys()])).found.size, 235)
      })
    )

    it.effect("never replaces a newer value by an older one", () =>
      Effect.gen(function* () {
        const { cache, generation, key, valueOf } = yield* begun(1)
        yield* cache.put(generation, values({ [key("a")]: [10, "ten"] }))
        yield* cache.put(generation, values({ [key("a")]: [9, "nine"] }))
        yield* cache.put(generation, values({ [key("a")]: [10, "another ten"] }))
        assert.strictEqual(yield* valueOf(key("a")), "ten")
        yield* cache.put(generation, values({ [key("a")]: [100, "hundred"] }))
        assert.strictEqual(yield* valueOf(key("a")), "hundred")
      })
    )

    it.effect("removes what a change has outdated, and nothing that has seen it", () =>
      Effect.gen(function* () {
        const { cache, generation, key, valueOf } = yield* begun(1)
        yield* cache.put(
          generation,
          values({ [key("old")]: [9, "a"], [key("new")]: [10, "b"], [key("other")]: [1, "c"] })
        )
        const changes = new Map([key("old"), key("new")].map((of) => [of, 10]))
        yield* cache.note({ changes, seen: 10, through: 9, claim: undefined })
        assert.isUndefined(yield* valueOf(key("old")))
        assert.strictEqual(yield* valueOf(key("new")), "b")
        assert.strictEqual(yield* valueOf(key("other")), "c")
      })
    )

    it.effect(
      "does not take what was loaded before a change that has been noted, and drops what it has shown to be old",
      () =>
        Effect.gen(function* () {
          const { cache, generation, key, valueOf } = yield* begun(1)
          yield* cache.put(generation, values({ [key("b")]: [5, "five"] }))
          yield* cache.note({ changes: new Map([[key("a"), 11]]), seen: 11, through: 10, claim: undefined })
          yield* cache.put(generation, values({ [key("a")]: [10, "of before"], [key("b")]: [10, "ten"] }))
          assert.isUndefined(yield* valueOf(key("a")))
          assert.isUndefined(yield* valueOf(key("b")))
          yield* cache.put(generation, values({ [key("a")]: [11, "of after"] }))
          assert.strictEqual(yield* valueOf(key("a")), "of after")
        })
    )

    it.effect("vouches as far as unbroken knowledge of the changes reaches, and no further", () =>
      Effect.gen(function* () {
        const { cache, generation } = yield* begun(10)
        const raised = (origin: number, through: number, of = generation) =>
          Effect.gen(function* () {
            const { connection } = yield* cache.note({ changes: noChanges, seen: 0, through: 0, claim: undefined })
            const claim = { generation: of, connection, origin }
            return (yield* cache.note({ changes: noChanges, seen: through, through, claim })).through
          })
        assert.strictEqual(yield* raised(11, 12), 10, "what is between 10 and 11 is not known")
        assert.strictEqual(yield* raised(10, 12, randomUUID()), 10, "noted in another generation")
        assert.strictEqual(yield* raised(10, 12), 12)
        assert.strictEqual(yield* raised(3, 11), 12, "never lowered")
        assert.strictEqual(yield* raised(3, 15), 15)
        assert.strictEqual((yield* cache.get([])).through, 15)
        const elsewhere = { generation, connection: 1_000_000, origin: 0 }
        const noted = yield* cache.note({ changes: noChanges, seen: 16, through: 16, claim: elsewhere })
        assert.strictEqual(noted.through, 15, "noted over another connection")
      })
    )

    it.effect("makes everything unreadable when a generation begins, and takes nothing more for the one before", () =>
      Effect.gen(function* () {
        const { cache, generation, key, valueOf } = yield* begun(1)
        yield* cache.put(generation, values({ [key("a")]: [5, "a"] }))
        yield* cache.begin(generation, 3)
        assert.isUndefined(yield* valueOf(key("a")))
        assert.isFalse(yield* cache.put(generation, values({ [key("a")]: [9, "late"] })))
        assert.isUndefined(yield* valueOf(key("a")))
        const next = yield* generationOf(cache)
        assert.isTrue(yield* cache.put(next, values({ [key("a")]: [4, "of an older database"] })))
        assert.strictEqual(yield* valueOf(key("a")), "of an older database")
      })
    )

    it.effect("begins one generation when several want to replace the same one", () =>
      Effect.gen(function* () {
        const { cache, generation, key, valueOf } = yield* begun(1)
        yield* cache.begin(generation, 2)
        const next = yield* generationOf(cache)
        yield* cache.put(next, values({ [key("a")]: [5, "a"] }))
        yield* cache.begin(generation, 3)
        assert.strictEqual(yield* generationOf(cache), next)
        assert.strictEqual(yield* valueOf(key("a")), "a")
      })
    )

    it.effect("keeps out for a while what was barred, whatever its number and whatever changes", () =>
      Effect.gen(function* () {
        const { cache, generation, key, valueOf } = yield* begun(1)
        yield* cache.put(generation, values({ [key("a")]: [5, "a"] }))
        yield* cache.bar(key("a"))
        assert.isUndefined(yield* valueOf(key("a")))
        yield* cache.note({ changes: new Map([[key("a"), 6]]), seen: 6, through: 6, claim: undefined })
        yield* cache.put(generation, values({ [key("a")]: [9, "loaded meanwhile"] }))
        assert.isUndefined(yield* valueOf(key("a")))
      })
    )

    it.effect("tells all who listen what is to be forgotten", () =>
      Effect.gen(function* () {
        const { cache } = yield* begun(1)
        const heard: Array<unknown> = []
        yield* cache.announcements((forgotten) => heard.push(forgotten))
        yield* Effect.sleep(50)
        yield* cache.announce({ type: "device", id: "1" })
        yield* cache.announce({ type: "all" })
        for (let waited = 0; heard.length < 2 && waited < 2_000; waited += 10) yield* Effect.sleep(10)
        assert.deepStrictEqual(heard, [{ type: "device", id: "1" }, { type: "all" }])
      }).pipe(Effect.scoped)
    )
  })
}
