/**
 * A shared cache in memory, for profile caches within one process; what the Redis adapter does, in plain words.
 * @module
 */
import { Clock, Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { BoundedMap } from "./BoundedMap.ts"
import { BAR_MILLIS, type Forgotten, KEEP_MILLIS, SharedCache, type SharedValue } from "./SharedCache.ts"

interface Kept extends SharedValue {
  readonly generation: string
  readonly until: number // epoch milliseconds
}

interface State {
  readonly generation: string
  through: number
  seen: number
}

const BARRED = "barred"
/** Memory has only one. */
const CONNECTION = 0

/** `limit`: the most values held. */
export const make = Effect.fnUntraced(function* (limit: number) {
  const clock = yield* Clock.Clock
  const now = () => clock.currentTimeMillisUnsafe()
  const kept = new BoundedMap<Kept>(limit)
  const listeners = new Set<(forgotten: Forgotten) => void>()
  let state: State | undefined
  const present = (key: string) => {
    const value = kept.get(key)
    return value === undefined || value.until <= now() ? undefined : value
  }

  return SharedCache.of({
    get: (keys) =>
      Effect.sync(() => {
        const found = new Map<string, SharedValue>()
        for (const key of keys) {
          const value = present(key)
          if (value === undefined || value.generation !== state?.generation) continue
          found.set(key, { sequence: value.sequence, value: value.value })
        }
        return { generation: state?.generation, through: state?.through ?? 0, found }
      }),
    put: (generation, values) =>
      Effect.sync(() => {
        if (state?.generation !== generation) return false
        for (const [key, { sequence, value }] of values) {
          const old = present(key)
          if (old?.generation === BARRED) continue
          if (old?.generation === generation && old.sequence >= sequence) continue
          if (sequence >= state.seen) kept.set(key, { sequence, value, generation, until: now() + KEEP_MILLIS })
          else kept.delete(key)
        }
        return true
      }),
    note: ({ changes, claim, seen, through }) =>
      Effect.sync(() => {
        for (const [key, sequence] of changes) {
          const value = kept.get(key)
          if (value !== undefined && value.generation !== BARRED && value.sequence < sequence) kept.delete(key)
        }
        if (state === undefined) return { generation: undefined, through: 0, connection: CONNECTION }
        state.seen = Math.max(state.seen, seen)
        const holds = claim?.generation === state.generation && claim.connection === CONNECTION
        if (holds && state.through >= claim.origin) state.through = Math.max(state.through, through)
        return { generation: state.generation, through: state.through, connection: CONNECTION }
      }),
    begin: (replaces, sequence) =>
      Effect.sync(() => {
        if (state?.generation === replaces) state = { generation: randomUUID(), through: sequence, seen: sequence }
      }),
    bar: (key) =>
      Effect.sync(() => kept.set(key, { sequence: 0, value: "", generation: BARRED, until: now() + BAR_MILLIS })),
    announce: (forgotten) =>
      Effect.sync(() => {
        for (const received of listeners) received(forgotten)
      }),
    announcements: (received) =>
      Effect.asVoid(
        Effect.acquireRelease(
          Effect.sync(() => listeners.add(received)),
          () => Effect.sync(() => listeners.delete(received))
        )
      )
  })
})

export const layer = (options: { readonly limit: number }): Layer.Layer<never> =>
  Layer.effect(SharedCache, make(options.limit))
