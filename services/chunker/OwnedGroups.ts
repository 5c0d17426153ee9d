/**
 * What waits in the partitions that this process owns, loaded when one is assigned to it.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type TopicPartition } from "@argusiq/layers/bus/Bus.ts"
import { type TenantGroup } from "@argusiq/layers/telemetry/Chunks.ts"
import { Clock, Effect } from "effect"
import { WaitingGroups } from "./WaitingGroups.ts"

/** A partition under one assignment. */
export interface OwnedPartition {
  readonly epoch: bigint
  readonly waiting: WaitingGroups
  /** The last interval of partition time in which expiry, and the removal of old chunks, have been seen to. */
  expirySlot: number
  cleaningSlot: number
  /** Epoch milliseconds. */
  usedAt: number
}

/** An owned partition is asked for every second: one that was not for so long is somebody else's, or will be loaded again. */
const IDLE_MILLIS = 60_000

export class OwnedGroups {
  readonly #load: (at: TopicPartition) => Effect.Effect<ReadonlyArray<TenantGroup>, DatabaseUnavailable>
  readonly #partitions = new Map<string, OwnedPartition>()

  constructor(load: (at: TopicPartition) => Effect.Effect<ReadonlyArray<TenantGroup>, DatabaseUnavailable>) {
    this.#load = load
  }

  /** Whoever comes with an epoch that is over sees what is stored, and is not remembered. */
  readonly of = Effect.fnUntraced(function* (
    this: OwnedGroups,
    { partition, topic }: TopicPartition,
    epoch: bigint
  ): Effect.fn.Return<OwnedPartition, DatabaseUnavailable> {
    const key = `${topic}/${partition}`
    const usedAt = yield* Clock.currentTimeMillis
    const known = this.#partitions.get(key)
    if (known?.epoch === epoch) {
      known.usedAt = usedAt
      return known
    }
    const waiting = new WaitingGroups(yield* this.#load({ topic, partition }))
    const loaded: OwnedPartition = { epoch, waiting, expirySlot: -1, cleaningSlot: -1, usedAt }
    const current = this.#partitions.get(key)
    if (current === undefined || current.epoch < epoch) this.#partitions.set(key, loaded)
    for (const [other, one] of this.#partitions) if (one.usedAt < usedAt - IDLE_MILLIS) this.#partitions.delete(other)
    return loaded
  })

  openCount(): number {
    let sum = 0
    for (const { waiting } of this.#partitions.values()) sum += waiting.openCount
    return sum
  }
}
