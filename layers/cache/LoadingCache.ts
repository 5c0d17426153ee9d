/**
 * A bounded cache that fills itself: keys asked for while a load is running wait for one load together, what is known to
 * be absent is asked for again but no more often than a fixed rate, and a load that began before an invalidation is given
 * to those who waited for it and never kept.
 * @module
 */
import { Clock, Deferred, Effect, type Scope } from "effect"
import { BoundedMap } from "./BoundedMap.ts"

export interface LoadingCacheOptions<V, E> {
  /** The most entries in memory. */
  readonly limit: number
  /** Keys left out of the result are absent. Asked for at most `loadLimit` keys at once. */
  readonly load: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, V>, E>
  readonly loadLimit?: number // 5,000
  /** False: the value, cached or just loaded, has been overtaken by a change and must be loaded again. */
  readonly isCurrent?: (value: V) => boolean
  /** How long an absent key stands in the slow lane after it was last found absent. */
  readonly absentMillis?: number // 5,000
  /** Between the starts of two loads of keys that were absent a moment ago. */
  readonly recheckMillis?: number // 50
  /** Above so many absent keys waiting, further ones are answered from memory. */
  readonly recheckLimit?: number // 5,000
}

export interface LoadingCache<V, E> {
  /** From memory, without an Effect. */
  readonly peek: (key: string) => V | undefined
  /** Absent keys have no entry. */
  readonly getAll: (keys: Iterable<string>) => Effect.Effect<ReadonlyMap<string, V>, E>
  /** `isOutdated`: of the value in memory, which stays when that is false. */
  readonly invalidate: (key: string, isOutdated?: (value: V) => boolean) => void
  readonly clear: () => void
  readonly size: () => number
  /** Counts since the last call. */
  readonly takeCounts: () => { readonly hits: number; readonly misses: number }
}

/** One query's worth of keys and the one answer that all who asked for them wait for. */
interface Load<V, E> {
  readonly keys: Set<string>
  readonly answer: Deferred.Deferred<ReadonlyMap<string, V>, E>
}

/** Loads that have not begun: what is asked for while one runs is loaded by the next. */
interface Lane<V, E> {
  readonly limit: number
  readonly queue: Array<Load<V, E>>
  running: boolean
}
const makeLane = <V, E>(limit: number): Lane<V, E> => ({ limit, queue: [], running: false })

export const makeLoadingCache = Effect.fnUntraced(function* <V, E>(
  options: LoadingCacheOptions<V, E>
): Effect.fn.Return<LoadingCache<V, E>, never, Scope.Scope> {
  const { load, loadLimit = 5_000, absentMillis = 5_000, recheckMillis = 50, recheckLimit = 5_000 } = options
  const isCurrent = options.isCurrent ?? (() => true)
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const present = new BoundedMap<V>(options.limit)
  /** When the key was last found absent, in milliseconds. */
  const absentSince = new BoundedMap<number>(options.limit)
  /** The load that a further asker may join: no invalidation of the key has come since it began. */
  const joinable = new Map<string, Load<V, E>>()
  const fast = makeLane<V, E>(loadLimit)
  const slow = makeLane<V, E>(recheckLimit)
  let hits = 0
  let misses = 0

  const keep = (running: Load<V, E>, found: ReadonlyMap<string, V>) => {
    const now = clock.currentTimeMillisUnsafe()
    for (const key of running.keys) {
      if (joinable.get(key) !== running) continue
      joinable.delete(key)
      const value = found.get(key)
      if (value === undefined) {
        absentSince.set(key, now)
      } else if (isCurrent(value)) {
        absentSince.delete(key)
        present.set(key, value)
      }
    }
  }

  const run = (running: Load<V, E>): Effect.Effect<void> =>
    Effect.suspend(() => load([...running.keys])).pipe(
      Effect.onExit((exit) => {
        if (exit._tag === "Success") keep(running, exit.value)
        else for (const key of running.keys) if (joinable.get(key) === running) joinable.delete(key)
        return Deferred.done(running.answer, exit)
      }),
      Effect.ignoreCause
    )

  /** Runs the lane's loads one after the other until none is left. */
  const drain = (lane: Lane<V, E>, pauseMillis: number): Effect.Effect<void> =>
    Effect.gen(function* () {
      for (let next = lane.queue.shift(); next !== undefined; next = lane.queue.shift()) {
        yield* run(next)
        if (pauseMillis > 0) yield* Effect.sleep(pauseMillis)
      }
    }).pipe(Effect.ensuring(Effect.sync(() => (lane.running = false))))

  const start = (lane: Lane<V, E>, pauseMillis: number) =>
    Effect.suspend(() => {
      if (lane.running || lane.queue.length === 0) return Effect.void
      lane.running = true
      return Effect.forkIn(drain(lane, pauseMillis), scope)
    })

  /** The load that will answer for the key; undefined: absent, and too many such keys are waiting already. */
  const enqueue = (key: string, now: number): Load<V, E> | undefined => {
    const joined = joinable.get(key)
    if (joined !== undefined) return joined
    const since = absentSince.get(key)
    const recheck = since !== undefined && now - since < absentMillis
    const lane = recheck ? slow : fast
    let target = lane.queue.at(-1)
    if (target === undefined || target.keys.size >= lane.limit) {
      if (recheck && target !== undefined) return undefined
      target = { keys: new Set(), answer: Deferred.makeUnsafe() }
      lane.queue.push(target)
    }
    target.keys.add(key)
    joinable.set(key, target)
    return target
  }

  const peek = (key: string): V | undefined => {
    const value = present.get(key)
    if (value === undefined) {
      misses++
      return undefined
    }
    if (!isCurrent(value)) {
      present.delete(key)
      misses++
      return undefined
    }
    hits++
    return value
  }

  const getAll = Effect.fnUntraced(function* (keys: Iterable<string>): Effect.fn.Return<ReadonlyMap<string, V>, E> {
    const found = new Map<string, V>()
    let missing: Array<string> = []
    for (const key of keys) {
      const value = peek(key)
      if (value === undefined) missing.push(key)
      else found.set(key, value)
    }
    while (missing.length > 0) {
      const asked = new Map<Load<V, E>, Array<string>>()
      const now = clock.currentTimeMillisUnsafe()
      for (const key of missing) {
        const answering = enqueue(key, now)
        if (answering === undefined) continue
        const of = asked.get(answering)
        if (of === undefined) asked.set(answering, [key])
        else of.push(key)
      }
      yield* start(fast, 0)
      yield* start(slow, recheckMillis)
      missing = []
      for (const [answering, of] of asked) {
        const answer = yield* Deferred.await(answering.answer)
        for (const key of of) {
          const value = answer.get(key)
          if (value === undefined) continue
          if (isCurrent(value)) found.set(key, value)
          else missing.push(key)
        }
      }
    }
    return found
  })

  return {
    peek,
    getAll,
    invalidate: (key, isOutdated) => {
      const value = present.get(key)
      if (value !== undefined && (isOutdated === undefined || isOutdated(value))) present.delete(key)
      absentSince.delete(key)
      joinable.delete(key)
    },
    clear: () => {
      present.clear()
      absentSince.clear()
      joinable.clear()
    },
    size: () => present.size,
    takeCounts: () => {
      const counts = { hits, misses }
      hits = 0
      misses = 0
      return counts
    }
  }
})
