/**
 * The places between reading a chunk and having published its whole at which a process may end. The fault tests kill
 * it there; nothing else can set them.
 * @module
 */
import { Context } from "effect"

export const failpoints = [
  "read", // the chunks are in memory
  "storing", // the transaction is open, nothing is written
  "stored", // chunks are written, not committed; no group is whole
  "claimed", // the same with a claim that a group is complete
  "committed", // chunks, claims and offset are committed
  "publishing", // a whole is reassembled
  "published", // it is durable, which is not stored yet
  "emitted", // that is committed
  "expiring", // the claim that a group has failed is written, not committed
  "expired", // it is committed
  "burying", // the dead letters of a failed group are read
  "buried", // they are durable, which is not stored yet
  "ended" // that is committed
] as const
export type Failpoint = (typeof failpoints)[number]

export const Failpoints = Context.Reference<(at: Failpoint) => void>("argusiq/services/chunker/Failpoints", {
  defaultValue: () => () => {}
})
