/**
 * The places at which something has left the platform, or is about to be stored, and a process may end. The fault tests
 * end it there; nothing else can set them.
 * @module
 */
import { Context } from "effect"

/** Of the relay of events. */
export const relayPlaces = [
  "read", // they are in memory
  "flushed", // they are on the disk of the database
  "published", // they are on the bus, which is not stored yet
  "marked" // that is committed
] as const

const otherPlaces = [
  "relayed", // activities are on the bus, which is not stored yet
  "delivered", // a receiver has taken a letter or a webhook, which is not stored yet
  "scheduled" // a scheduled activity is written, not committed
] as const
export type Failpoint = (typeof relayPlaces)[number] | (typeof otherPlaces)[number]

export const Failpoints = Context.Reference<(at: Failpoint) => void>("argusiq/services/jobs/Failpoints", {
  defaultValue: () => () => {}
})
