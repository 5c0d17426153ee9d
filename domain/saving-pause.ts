/**
 * How often the states of folds are saved.
 * @module
 */

/** Saving takes at most this part of a partition's time: while much may still be corrected, what there is to save grows with it. */
const SAVING_SHARE = 1 / 20
/** However long it took, not longer than so many intervals are let pass. */
const MOST_INTERVALS = 10

/** From one time of saving to the next, in milliseconds, where that one took so long. */
export const savingPause = (intervalMillis: number, tookMillis: number): number =>
  Math.max(intervalMillis, Math.min(tookMillis / SAVING_SHARE, MOST_INTERVALS * intervalMillis))
