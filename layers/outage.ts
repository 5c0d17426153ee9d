/**
 * An outage in the log: one line when it begins and one when it is over, none for each attempt in between.
 * @module
 */
import { Cause, Effect } from "effect"

export interface Outage {
  readonly began: (cause: Cause.Cause<unknown>) => Effect.Effect<void>
  readonly ended: Effect.Effect<void>
}

/** `message`: what is away and what is done meanwhile. */
export const makeOutage = (message: string): Outage => {
  let lasts = false
  return {
    began: (cause) =>
      Effect.suspend(() => {
        if (lasts || Cause.hasInterruptsOnly(cause)) return Effect.void
        lasts = true
        return Effect.logWarning(message, Cause.squash(cause))
      }),
    ended: Effect.suspend(() => {
      if (!lasts) return Effect.void
      lasts = false
      return Effect.logInfo(`Over: ${message}`)
    })
  }
}
