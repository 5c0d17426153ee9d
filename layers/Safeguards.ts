/**
 * The safeguards on which the promise of durability stands, as switches. They are always on; the fault tests turn one off
 * at a time to prove that its absence is noticed.
 * @module
 */
import { Context } from "effect"

export interface SafeguardSwitches {
  /** A reading that is already stored is recognised by its id and not stored again. */
  readonly deduplicateReadings: boolean
  /** A consumer's offset moves in the transaction of its rows. Off: in a transaction of its own, before them. */
  readonly offsetWithRows: boolean
  /** A device's message is acknowledged after the log has flushed it. Off: before it is appended. */
  readonly acknowledgeAfterFlush: boolean
  /** A consumer's offset moves on condition that it is where this member left it and the partition still its own. Off: always. */
  readonly conditionalOffsets: boolean
}

export const allSafeguards: SafeguardSwitches = {
  deduplicateReadings: true,
  offsetWithRows: true,
  acknowledgeAfterFlush: true,
  conditionalOffsets: true
}

export const Safeguards = Context.Reference<SafeguardSwitches>("argusiq/layers/Safeguards", {
  defaultValue: () => allSafeguards
})
