/**
 * The places between reading an event and having stored what it comes to at which a process may end. The fault tests kill
 * it there; nothing else can set them.
 * @module
 */
import { Context } from "effect"

export const failpoints = [
  "read", // the events are in memory
  "storing", // the transaction is open, nothing is written
  "stored", // activities, notifications and deliveries are written, not committed
  "committed" // they are committed with the offset
] as const
export type Failpoint = (typeof failpoints)[number]

export const Failpoints = Context.Reference<(at: Failpoint) => void>("argusiq/services/activity-creator/Failpoints", {
  defaultValue: () => () => {}
})
