/**
 * Removes old records: by age and by bytes per topic, whichever is reached first, and never what a live group has yet to
 * handle.
 * @module
 */
import type { Instant } from "@argusiq/domain/ids.ts"
import { Cause, Exit } from "effect"
import type { ConsumerGroups } from "./ConsumerGroups.ts"
import type { Log, Partition } from "./Log.ts"
import type { LogWriter } from "./LogWriter.ts"

/** Of one transaction, so that publishes do not wait long behind it. */
const MAX_REMOVED_RECORDS = 2_000
const MAX_REMOVED_BYTES = 33_554_432

/** A topic that holds more than it should because a group has not handled it. */
export interface HeldBack {
  readonly topic: string
  readonly group: string
  readonly bytes: number
}

export interface RetentionReport {
  readonly removed: number
  readonly heldBack: ReadonlyArray<HeldBack>
}

export class Retention {
  readonly #log: Log
  readonly #groups: ConsumerGroups
  readonly #writer: LogWriter
  readonly #now: () => Instant

  constructor(log: Log, groups: ConsumerGroups, writer: LogWriter, now: () => Instant) {
    this.#log = log
    this.#groups = groups
    this.#writer = writer
    this.#now = now
  }

  /** Removes all that is due. Rejects with BusUnavailable. */
  async run(): Promise<RetentionReport> {
    const heldBack: Array<HeldBack> = []
    let removed = 0
    for (const partitions of this.#log.topics()) {
      for (const partition of partitions) {
        const expired = this.#log.offsetAt(partition, this.#now() - partition.topic.retentionMillis * 1_000)
        while (true) {
          const removal = this.#removal(partition, expired, Infinity)
          if (removal === undefined) break
          await this.#remove(removal)
          removed += removal.to - removal.from
        }
      }
      while (true) {
        const excess = bytesOf(partitions) - (partitions[0]?.topic.retentionBytes ?? Infinity)
        if (excess <= 0) break
        const removal = this.#oldestFirst(partitions)
          .map((partition) => this.#removal(partition, partition.bounds.end, excess))
          .find((found) => found !== undefined)
        if (removal === undefined) {
          const holder = this.#holder(partitions)
          if (holder !== undefined) heldBack.push({ ...holder, bytes: bytesOf(partitions) })
          break
        }
        await this.#remove(removal)
        removed += removal.to - removal.from
      }
    }
    return { removed, heldBack }
  }

  /** The oldest records of a partition that may go: below `limit`, handled by all groups, and not more than it takes to free
   * `excess` bytes. */
  #removal(partition: Partition, limit: number, excess: number): Removal | undefined {
    const { slot, bounds } = partition
    const to = Math.min(limit, this.#groups.lowest(slot)?.offset ?? bounds.end)
    let next = bounds.start
    let bytes = 0
    if (next >= to) return undefined
    this.#log.storage.scan(slot, next, to, (offset, record) => {
      next = offset + 1
      bytes += record.length
      return next - bounds.start < MAX_REMOVED_RECORDS && bytes < Math.min(excess, MAX_REMOVED_BYTES)
    })
    return next === bounds.start ? undefined : { partition, from: bounds.start, to: next, bytes }
  }

  #remove({ partition, from, to, bytes }: Removal): Promise<void> {
    return new Promise((resolve, reject) => {
      let groups: ReturnType<ConsumerGroups["write"]> = []
      this.#writer.change({
        write: (transaction) => {
          const lowest = this.#groups.lowest(partition.slot)?.offset ?? to
          if (lowest < to || transaction.boundsOf(partition).start !== from) return // a group went back, or it is done
          // What allowed the removal has to be as durable as the removal.
          groups = this.#groups.write(transaction)
          transaction.writes.remove(partition.slot, from, to)
          const bounds = transaction.ownBoundsOf(partition)
          bounds.start = to
          bounds.bytes -= bytes
        },
        done: (exit) => {
          this.#groups.written(groups, Exit.isSuccess(exit))
          if (Exit.isSuccess(exit)) resolve()
          else reject(Cause.squash(exit.cause))
        }
      })
    })
  }

  #oldestFirst(partitions: ReadonlyArray<Partition>): ReadonlyArray<Partition> {
    return partitions
      .filter(({ bounds }) => bounds.start < bounds.end)
      .map((partition) => ({ partition, oldest: this.#log.appendedAt(partition, partition.bounds.start) }))
      .toSorted((a, b) => a.oldest - b.oldest)
      .map(({ partition }) => partition)
  }

  #holder(partitions: ReadonlyArray<Partition>): { readonly topic: string; readonly group: string } | undefined {
    for (const { slot, topic, bounds } of partitions) {
      const lowest = this.#groups.lowest(slot)
      if (lowest !== undefined && lowest.offset < bounds.end) return { topic: topic.name, group: lowest.group }
    }
    return undefined
  }
}

interface Removal {
  readonly partition: Partition
  readonly from: number
  readonly to: number
  readonly bytes: number
}

const bytesOf = (partitions: ReadonlyArray<Partition>): number =>
  partitions.reduce((sum, { bounds }) => sum + bounds.bytes, 0)
