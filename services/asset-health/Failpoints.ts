/**
 * The places between reading a device's reading and having told what its assets come to at which a process may end. The fault
 * tests kill it there; nothing else can set them.
 * @module
 */
import { Context } from "effect"

export const failpoints = [
  "mapped", // a batch of device readings is mapped, nothing of it is published
  "folded-before-store", // what a batch comes to is in memory
  "storing", // it is published; the transaction is open, nothing is written
  "stored-before-publish", // a rebuilt base is taken over and its frames are written, not committed
  "stored", // frames and latest values are written, not committed
  "committed", // with the offset
  "saving", // states are encoded, the transaction is open
  "saved" // they are committed
] as const
export type Failpoint = (typeof failpoints)[number]

export const Failpoints = Context.Reference<(at: Failpoint) => void>("argusiq/services/asset-health/Failpoints", {
  defaultValue: () => () => {}
})
