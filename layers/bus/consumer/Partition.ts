/**
 * One partition as a consumer group owns it.
 * @module
 */
import type { Instant } from "@argusiq/domain/ids.ts"
import { Semaphore } from "effect"
import type { TopicPartition } from "../Bus.ts"
import { type Feed, withoutLag } from "./PartitionTime.ts"

export class Partition {
  readonly at: TopicPartition
  /** Of the assignment: who holds a lower one has lost the partition. */
  readonly epoch: bigint
  /** Batches and ticks take turns. */
  readonly turn = Semaphore.makeUnsafe(1)
  /** The next offset to process; undefined when nothing says it yet. */
  next: bigint | undefined
  time: Instant
  /** The time that is in the database. */
  keptTime: Instant
  feed: Feed | undefined
  ticking = false
  /** An outcome has asked for a tick before the next batch. */
  tickWanted = false

  constructor(at: TopicPartition, epoch: bigint, next: bigint | undefined, time: Instant) {
    this.at = at
    this.epoch = epoch
    this.next = next
    this.time = time
    this.keptTime = time
  }

  /** Whether what the feeders had written is still to be processed. */
  isFeedAhead(): boolean {
    return this.feed !== undefined && (this.next === undefined || this.next < this.feed.end)
  }

  /** Takes over the feeders' time where nothing is left to process. */
  advanceWithoutLag(): void {
    if (this.next !== undefined) this.time = withoutLag(this.time, this.next, this.feed)
  }
}

export const keyOf = ({ topic, partition }: TopicPartition) => `${topic}/${partition}`
