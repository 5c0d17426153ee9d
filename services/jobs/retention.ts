/**
 * Which telemetry is kept.
 * @module
 */
import { type Partition } from "@argusiq/layers/database/partitions.ts"

export interface Limits {
  /** Milliseconds. A partition goes when all of it is older. */
  readonly keep: number
  /** Bytes of all partitions together, indexes included; undefined: no cap. */
  readonly maxBytes?: number | undefined
}

/**
 * The partitions to drop at `now`, oldest first: those past their time, then the oldest until the rest is within the byte
 * cap. The partition that is being written stays, and so do those ahead of it.
 */
export const expiredPartitions = <P extends Partition & { readonly bytes: number }>(
  partitions: ReadonlyArray<P>,
  limits: Limits,
  now: number
): ReadonlyArray<P> => {
  const oldestFirst = partitions.toSorted((a, b) => a.from - b.from)
  let bytes = oldestFirst.reduce((sum, partition) => sum + partition.bytes, 0)
  return oldestFirst.filter((partition) => {
    const past = partition.to <= now
    const tooMuch = limits.maxBytes !== undefined && bytes > limits.maxBytes
    const drop = past && (partition.to <= now - limits.keep || tooMuch)
    if (drop) bytes -= partition.bytes
    return drop
  })
}
