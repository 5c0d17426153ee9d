/**
 * The places of the relay at which a process may end. The fault tests kill it there; nothing else can set them.
 * @module
 */
import { Context } from "effect"

export const failpoints = [
  "read", // events are in memory
  "flushed", // they are on the disk of the database
  "published", // they are on the bus, which is not stored yet
  "marked" // that is committed
] as const
export type Failpoint = (typeof failpoints)[number]

export const Failpoints = Context.Reference<(at: Failpoint) => void>("argusiq/services/jobs/Failpoints", {
  defaultValue: () => () => {}
})
