/**
 * The dead letters of a message some of whose entries failed.
 * @module
 */
import { type FailedEntry } from "./demultiplex.ts"
import { Poison } from "./errors.ts"

/** Bytes that the dead letters of one message may take together: each holds the whole message. */
const MAX_LETTERS_BYTES = 1_048_576

export interface EntryLetter<R> {
  readonly record: R
  readonly entry?: number
  readonly error: Poison
}

/** What went wrong in a message, of whose entries at least one failed. */
export const failureOf = (failed: ReadonlyArray<FailedEntry>): string => {
  const [{ error, index }] = failed as readonly [FailedEntry]
  const which =
    failed.length === 1 ? `Entry ${index} failed` : `${failed.length} entries failed, the first of them entry ${index}`
  return `${which}: ${error.message}`
}

/**
 * One for each failed entry. Where these would repeat a large message too often one stands for all of them, and for the whole
 * message: a retry of it stores what is not stored yet.
 */
export const entryLetters = <R extends { readonly value: Uint8Array }>(
  record: R,
  failed: ReadonlyArray<FailedEntry>
): ReadonlyArray<EntryLetter<R>> => {
  const [first, ...others] = failed
  if (first === undefined) return []
  if (others.length === 0 || failed.length * record.value.byteLength <= MAX_LETTERS_BYTES) {
    return failed.map(({ error, index }) => ({ record, entry: index, error }))
  }
  const { path, reason } = first.error
  return [{ record, error: new Poison({ reason, message: failureOf(failed), ...(path !== undefined && { path }) }) }]
}
