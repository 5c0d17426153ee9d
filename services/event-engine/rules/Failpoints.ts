/**
 * The places between reading a batch and having stored its alarms at which a process may end. The fault tests end it there;
 * nothing else can set them.
 * @module
 */
import { Context } from "effect"

export const failpoints = [
  "folded", // what the readings come to is known in memory
  "storing", // the transaction is open, nothing is written
  "stored", // alarms and events are written, not committed
  "committed", // with the offset
  "saving", // states are about to be written, in a tick
  "saved" // they are written, not committed
] as const
export type Failpoint = (typeof failpoints)[number]

export const Failpoints = Context.Reference<(at: Failpoint) => void>("argusiq/services/event-engine/rules/Failpoints", {
  defaultValue: () => () => {}
})
