/**
 * Values that processes share, between each one's memory and the database. It may lose everything at any moment and never
 * gives a value for newer than it is.
 *
 * A value carries the change sequence of the snapshot it was read in: it reflects every change up to that number. Of the
 * changes after it the cache is told by `note`, which removes what they have outdated. Three numbers are kept with the
 * values:
 *
 * - `generation`: values of another one are unreadable. A new one begins when nothing kept can be vouched for.
 * - `seen`: the highest change that anybody has noted. A value read before it is not accepted, since the change that
 *   outdated it may have been noted already and would not be noted again.
 * - `through`: every change up to it has been noted in this generation, so a value that is still there reflects them all.
 *   A process may raise it as far as its own unbroken knowledge of the changes reaches, if that knowledge begins at or
 *   below it.
 * @module
 */
import { type CacheUnavailable } from "@argusiq/domain/errors.ts"
import { Context, type Effect, type Scope } from "effect"

export interface SharedValue {
  /** The last change that the value can have seen. */
  readonly sequence: number
  /** Not empty. */
  readonly value: string
}

export interface SharedAnswer {
  /** Undefined: none has begun, and nothing can be kept. */
  readonly generation: string | undefined
  /** Every change up to this number is reflected in all values found. */
  readonly through: number
  readonly found: ReadonlyMap<string, SharedValue>
}

/** A process has noted every change after `origin` in this generation, over this connection. */
export interface Claim {
  readonly generation: string
  readonly connection: number
  readonly origin: number
}

export interface Noted {
  /** Undefined: none has begun. */
  readonly generation: string | undefined
  readonly through: number
  readonly connection: number
}

/** What somebody has asked to be forgotten whatever its number. */
export type Forgotten = { readonly type: "device" | "device-type"; readonly id: string } | { readonly type: "all" }

export interface SharedCacheAdapter {
  readonly get: (keys: ReadonlyArray<string>) => Effect.Effect<SharedAnswer, CacheUnavailable>
  /** Keeps values that were loaded after `generation` was read: those that are newer than what is there and not older than
   * `seen`. An older value that is there is removed in either case. False: another generation is in force, nothing was done. */
  readonly put: (
    generation: string,
    values: ReadonlyMap<string, SharedValue>
  ) => Effect.Effect<boolean, CacheUnavailable>
  /** Removes values older than the change of their key. `seen`: the highest change known; `through`: the highest up to which
   * all changes are known. */
  readonly note: (noted: {
    readonly changes: ReadonlyMap<string, number>
    readonly seen: number
    readonly through: number
    readonly claim: Claim | undefined
  }) => Effect.Effect<Noted, CacheUnavailable>
  /** Begins a generation, unless another than `replaces` is in force. */
  readonly begin: (replaces: string | undefined, sequence: number) => Effect.Effect<void, CacheUnavailable>
  /** Removes a value and keeps out, for 10 s, those that were being loaded meanwhile. */
  readonly bar: (key: string) => Effect.Effect<void, CacheUnavailable>
  /** Tells all processes. */
  readonly announce: (forgotten: Forgotten) => Effect.Effect<void, CacheUnavailable>
  /** Calls `received` with what was announced, until the scope closes; what is announced during an outage is missed. */
  readonly announcements: (received: (forgotten: Forgotten) => void) => Effect.Effect<void, never, Scope.Scope>
}

/** Values that nobody has asked for again are dropped after this. */
export const KEEP_MILLIS = 3_600_000
/** Longer than any load. */
export const BAR_MILLIS = 10_000

/** Undefined: this process shares with none. */
export const SharedCache = Context.Reference<SharedCacheAdapter | undefined>("argusiq/layers/cache/SharedCache", {
  defaultValue: () => undefined
})
