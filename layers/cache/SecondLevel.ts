/**
 * One process's use of the shared cache: what it may take from it, given what it knows of the changes, and what it tells it
 * of them. Without a shared cache, and while that is away, nothing is found and nothing waits.
 *
 * A value is taken when it is at least as new as the last change of its key that this process knows. Of keys whose changes it
 * does not remember it knows that none came after `floor`, so there the cache must vouch for `floor`. The floor also rises
 * to what this process has loaded and could not put: it may not be followed by something older.
 * @module
 */
import { CacheUnavailable } from "@argusiq/domain/errors.ts"
import { Cause, Clock, Effect, Latch, type Scope } from "effect"
import { type Claim, type Forgotten, SharedCache, type SharedCacheAdapter, type SharedValue } from "./SharedCache.ts"

/** Above so many remembered changes they are forgotten, and the floor rises instead. */
const REMEMBERED_CHANGES = 10_000
/** Another process may bridge the gap in what has been noted; after this a new generation begins. */
const GAP_MILLIS = 2_000

export interface Taken {
  /** To be given to `put` with what was loaded because it was not found. */
  readonly generation: string | undefined
  readonly found: ReadonlyMap<string, SharedValue>
}

export interface SecondLevel {
  /** Takes what is new enough at the moment of its arrival. */
  readonly get: (keys: ReadonlyArray<string>) => Effect.Effect<Taken>
  /** Done when no process that asks the cache from now on gets an older value than these. */
  readonly put: (generation: string | undefined, values: ReadonlyMap<string, SharedValue>) => Effect.Effect<void>
  readonly changed: (key: string, sequence: number) => void
  /** Anything may have changed up to this number, or the database is an older one than before. */
  readonly changedAll: (sequence: number) => void
  /** All changes up to this number have been told. */
  readonly complete: (sequence: number) => void
  /** Makes a value unreadable for all processes, or all values. */
  readonly forget: (key: string | undefined) => Effect.Effect<void>
  readonly announce: (forgotten: Forgotten) => Effect.Effect<void, CacheUnavailable>
  readonly announcements: SharedCacheAdapter["announcements"]
}

const nothing: Taken = { generation: undefined, found: new Map() }

/** Shares with none. */
const alone: SecondLevel = {
  get: () => Effect.succeed(nothing),
  put: () => Effect.void,
  changed: () => {},
  changedAll: () => {},
  complete: () => {},
  forget: () => Effect.void,
  announce: () => Effect.fail(new CacheUnavailable({ cause: new Error("no cache is shared") })),
  announcements: () => Effect.void
}

const makeOver = Effect.fnUntraced(function* (
  cache: SharedCacheAdapter
): Effect.fn.Return<SecondLevel, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const changes = new Map<string, number>()
  /** Before the first word about changes nothing can be judged. */
  let floor = Number.POSITIVE_INFINITY
  let seen = 0
  let complete = 0
  let pending = new Map<string, number>()
  let claim: Claim | undefined
  /** What came after this change and has been told is in the batches told since. */
  let told = 0
  /** Counts the times that changes were missed. */
  let breaks = 0
  let gapSince: number | undefined
  /** How often what is kept was found to be wrong and could not be removed, and how much of that a generation has ended. */
  let timesOutdated = 0
  let timesBegun = 0
  const mustBegin = () => timesBegun < timesOutdated
  const somethingToTell = Latch.makeUnsafe()

  const remember = (key: string, sequence: number) => {
    if (changes.size >= REMEMBERED_CHANGES) {
      changes.clear()
      floor = seen
    }
    changes.set(key, sequence)
  }

  const isNewEnough = (key: string, sequence: number, through: number) => {
    const changed = changes.get(key)
    return changed !== undefined && changed > floor ? sequence >= changed : Math.max(sequence, through) >= floor
  }

  const begin = Effect.fnUntraced(function* (replaces: string | undefined) {
    const ends = timesOutdated
    yield* cache.begin(replaces, seen)
    timesBegun = ends
    gapSince = undefined
  })

  const beginLater = Effect.sync(() => {
    timesOutdated++
    somethingToTell.openUnsafe()
  })
  const forgetAll = Effect.gen(function* () {
    const { generation } = yield* cache.get([])
    yield* begin(generation)
  })

  const tell = Effect.gen(function* () {
    somethingToTell.closeUnsafe()
    if (floor === Number.POSITIVE_INFINITY) return
    const telling = { changes: pending, seen, through: Math.min(complete, seen), claim }
    const origin = told
    const breaksBefore = breaks
    pending = new Map()
    claim = undefined // until it is known that the cache was told
    told = seen
    const noted = yield* cache.note(telling)
    const { connection, generation } = noted
    if (generation === undefined || mustBegin()) return yield* begin(generation)
    if (breaks !== breaksBefore) return
    const before = telling.claim
    const held =
      before?.generation === generation && before.connection === connection
        ? before
        : { generation, connection, origin }
    claim = held
    if (noted.through >= held.origin) {
      gapSince = undefined
      return
    }
    const now = clock.currentTimeMillisUnsafe()
    gapSince ??= now
    if (now - gapSince >= GAP_MILLIS) yield* begin(generation)
  })

  yield* somethingToTell.await.pipe(
    Effect.andThen(tell),
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.logDebug("The shared cache was not told", cause)
    ),
    Effect.forever,
    Effect.forkScoped
  )

  return {
    get: (keys) =>
      cache.get(keys).pipe(
        Effect.map(({ found, generation, through }): Taken => {
          if (mustBegin()) return nothing
          const newEnough = [...found].filter(([key, { sequence }]) => isNewEnough(key, sequence, through))
          return { generation, found: new Map(newEnough) }
        }),
        Effect.orElseSucceed(() => nothing)
      ),
    put: (generation, values) =>
      (generation === undefined ? Effect.succeed(false) : cache.put(generation, values)).pipe(
        Effect.orElseSucceed(() => false),
        Effect.map((done) => {
          if (!done) for (const { sequence } of values.values()) floor = Math.max(floor, sequence)
        })
      ),
    changed: (key, sequence) => {
      seen = Math.max(seen, sequence)
      remember(key, sequence)
      pending.set(key, sequence)
      somethingToTell.openUnsafe()
    },
    changedAll: (sequence) => {
      if (sequence < seen) timesOutdated++
      changes.clear()
      pending.clear()
      claim = undefined
      breaks++
      floor = seen = complete = told = sequence
    },
    complete: (sequence) => {
      complete = sequence
      somethingToTell.openUnsafe()
    },
    forget: (key) => (key === undefined ? forgetAll : cache.bar(key)).pipe(Effect.catch(() => beginLater)),
    announce: cache.announce,
    announcements: cache.announcements
  }
})

export const makeSecondLevel = Effect.flatMap(SharedCache, (cache) =>
  cache === undefined ? Effect.succeed(alone) : makeOver(cache)
)
