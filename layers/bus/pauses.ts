/**
 * Pauses in long work: a batch of gateway messages may hold many thousands of entries, and connections wait meanwhile.
 * @module
 */
import { Effect } from "effect"

const ENTRIES_AT_ONCE = 2_000

/** To be yielded with the number of entries just worked through; every 2,000 of them others are let in. */
export const makePauses = () => {
  let entries = 0
  return (worked: number): Effect.Effect<void> => {
    entries += worked
    if (entries < ENTRIES_AT_ONCE) return Effect.void
    entries = 0
    return Effect.yieldNow
  }
}
