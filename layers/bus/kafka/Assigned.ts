/**
 * A partition that a subscription has: what has been read of it, and from where it goes on.
 * @module
 */
import type { Batch, StoredRecord, Subscription } from "../Bus.ts"
import { OwnedPartition, PATIENCE_MILLIS, type Ready } from "../Handling.ts"
import type { Readable } from "./Fetcher.ts"
import type { Key } from "./Membership.ts"
import type { Decoded } from "./recordBatch.ts"

/** Read ahead of what is handled, no more than about this of a partition. */
const AHEAD_BYTES = 2_097_152

/** Names of a partition, as Kafka knows them and as we do. */
export interface Place {
  readonly key: Key
  readonly kafkaTopic: string
  readonly topic: string
  readonly partition: number
}

export class Assigned extends OwnedPartition implements Readable {
  readonly key: Key
  readonly kafkaTopic: string
  readonly topic: string
  readonly partition: number
  /** Of the topic when the partition was assigned; undefined where brokers do not tell. */
  readonly topicId: string | undefined
  readonly #maxRecords: number
  /** Next offset to read. */
  from: number
  /** Where the log ended when it was last read. */
  end: number
  /** Its topic may be another one by now; nothing is read until that is clear. */
  moved = false
  /** Where `from` was when the watchdog last looked. */
  seenFrom = -1
  #ahead: Array<StoredRecord> = []
  #taken = 0
  #bytes = 0

  constructor(place: Place, topicId: string | undefined, offset: number, maxRecords: number) {
    super()
    this.key = place.key
    this.kafkaTopic = place.kafkaTopic
    this.topic = place.topic
    this.partition = place.partition
    this.topicId = topicId
    this.from = offset
    this.end = offset
    this.#maxRecords = maxRecords
  }

  /** Records that wait to be handed out. */
  get waiting(): number {
    return this.#ahead.length - this.#taken
  }

  get wants(): boolean {
    return (
      !this.stopped && !this.revoked && !this.moved && this.#bytes < AHEAD_BYTES && this.waiting < 2 * this.#maxRecords
    )
  }

  /** It has no room, and is handled at a pace that will make some. */
  get isFull(): boolean {
    const idle = this.stopped || this.revoked || this.moved
    return !idle && !this.wants && performance.now() - this.handedOutAt < PATIENCE_MILLIS
  }

  /** The record that is handed out next. */
  get head(): StoredRecord | undefined {
    return this.#ahead[this.#taken]
  }

  get ready(): Ready | undefined {
    const { head } = this
    return head === undefined ? undefined : { waiting: this.waiting, appendedAt: () => head.appendedAt }
  }

  add({ records, next }: Decoded, end: number): void {
    this.from = next
    this.end = end
    if (this.#taken > 0) {
      this.#ahead = this.#ahead.slice(this.#taken)
      this.#taken = 0
    }
    for (const record of records) {
      this.#ahead.push(record)
      this.#bytes += record.value.length
    }
  }

  /** As much as a batch may hold; undefined when nothing waits. */
  take({ maxRecords, maxBytes }: Subscription): Batch | undefined {
    const first = this.#taken
    let bytes = 0
    let last = first
    for (; last < this.#ahead.length && last - first < maxRecords; last++) {
      const { length } = (this.#ahead[last] as StoredRecord).value
      if (last > first && bytes + length > maxBytes) break
      bytes += length
    }
    if (last === first) return undefined
    const records = this.#ahead.slice(first, last)
    this.#taken = last
    this.#bytes -= bytes
    const next = (records.at(-1) as StoredRecord).offset + 1n
    return {
      topic: this.topic,
      partition: this.partition,
      records,
      next,
      end: BigInt(Math.max(this.end, Number(next)))
    }
  }

  /** Goes on at an offset; what was handled before no longer counts. */
  seek(offset: number): void {
    this.forget()
    this.from = offset
    this.#ahead = []
    this.#taken = 0
    this.#bytes = 0
  }
}
