/**
 * The places between reading a gateway's message and having stored what became of it at which a process may end. The fault
 * tests kill it there; nothing else can set them.
 * @module
 */
import { Context } from "effect"

export const failpoints = [
  "read", // the messages are opened
  "registered", // children that were new are committed; nothing is published
  "published", // entries and dead letters are durable, which is not stored yet
  "stored", // transactions are written, not committed
  "committed" // they are, with the offset
] as const
export type Failpoint = (typeof failpoints)[number]

export const Failpoints = Context.Reference<(at: Failpoint) => void>("argusiq/services/demux/Failpoints", {
  defaultValue: () => () => {}
})
