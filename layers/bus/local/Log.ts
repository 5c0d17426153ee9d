/**
 * The log as readers see it: for each partition its durable bounds, and the records between them.
 * @module
 */
import type { Topic } from "@argusiq/domain/topics.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import type { StoredRecord } from "../Bus.ts"
import type { LogStorage, LogWrites } from "./LogStorage.ts"
import { RecentRecords } from "./RecentRecords.ts"
import { appendedAtOf, decodeRecord } from "./recordBytes.ts"

export interface PartitionBounds {
  /** Offset of the oldest record kept. */
  readonly start: number
  /** Offset the next record gets: everything below is flushed. Never decreases. */
  readonly end: number
  /** Of the records between. */
  readonly bytes: number
  /** Of the last record ever appended; those of the records never decrease. */
  readonly appendedAt: Instant
}

/**
 * Of one topic, kept in memory at most: some seconds at full load, so that groups which keep up need no reads. With a third
 * of it groups fell out of memory at full load, each decoded what it read by itself, and a message cost 146 instead of 77 µs.
 * What was parsed of a record goes with it: of messages of ten metrics that is another two thirds while a group lags.
 */
const RECENT_BYTES = 18_874_368

/** Of a partition: a subscription or a follower that has it. */
export interface Reader {
  /** The next offset that it has not handled. */
  readonly position: number
  /** Called after the end has moved. */
  readonly wake: () => void
}

export class Partition {
  readonly topic: Topic
  readonly partition: number
  readonly slot: number
  /** Moved by the writer only, when the transaction that moves them is durable. */
  bounds: PartitionBounds
  readonly recent: RecentRecords
  readonly readers = new Set<Reader>()

  constructor(topic: Topic, partition: number, slot: number, bounds: PartitionBounds, recentBytes: number) {
    this.topic = topic
    this.partition = partition
    this.slot = slot
    this.bounds = bounds
    this.recent = new RecentRecords(recentBytes)
  }

  /** What all readers have handled need not stay in memory: there it would outlive the batches that it was part of. */
  forgetHandled(): void {
    let handled = Infinity
    for (const { position } of this.readers) handled = Math.min(handled, position)
    this.recent.dropBefore(handled)
  }
}

/** 2: records may be stored in blocks. What a log of format 1 holds is read as it is. */
const FORMAT = 2
const READABLE_FORMATS: ReadonlyArray<number> = [1, FORMAT]
const SLOTS_PER_TOPIC = 65_536
const LOG_NOTE = "log"
const EMPTY: PartitionBounds = { start: 0, end: 0, bytes: 0, appendedAt: 0 }

/** Note "log": what the log is. Topics once known keep their number, so that slots never change their meaning. */
interface LogDescription {
  readonly format: number
  readonly logId: string
  readonly topics: Readonly<Record<string, { readonly number: number; readonly partitions: number }>>
}

const boundsNote = (slot: number): string => `partition/${slot}`

export const noteBounds = (writes: LogWrites, slot: number, bounds: PartitionBounds): void =>
  writes.note(boundsNote(slot), JSON.stringify(bounds))

export class Log {
  /** Random, made with the log. */
  readonly logId: string
  /** Of each of its topics. */
  readonly partitions: number
  readonly storage: LogStorage
  readonly #topics = new Map<string, ReadonlyArray<Partition>>()
  readonly #slots = new Map<number, Partition>()

  /**
   * Opens the log in a store or begins it, with so many partitions: one that exists keeps its own. Rejects with an Error that says
   * what to do.
   */
  static async open(
    storage: LogStorage,
    topics: Iterable<Topic>,
    partitionsOfNew: number,
    newLogId: () => string
  ): Promise<Log> {
    const notes = storage.notes()
    const stored = notes.get(LOG_NOTE)
    const known: LogDescription =
      stored === undefined ? { format: FORMAT, logId: newLogId(), topics: {} } : JSON.parse(stored)
    if (!READABLE_FORMATS.includes(known.format)) {
      throw new Error(
        `the log has format ${known.format}, this version reads ${READABLE_FORMATS.join(" and ")}: start the version that wrote it`
      )
    }
    const wanted = new Map(Object.entries(known.topics))
    const [partitions = partitionsOfNew, ...others] = new Set(wanted.values().map((topic) => topic.partitions))
    if (others.length > 0) {
      throw new Error(
        `topics of the log have ${[partitions, ...others].join(" and ")} partitions, where all should have as many: ` +
          "restore the log's files from a backup"
      )
    }
    for (const { name } of topics) {
      if (!wanted.has(name)) wanted.set(name, { number: wanted.size, partitions })
    }
    if (stored === undefined || known.format !== FORMAT || wanted.size !== Object.keys(known.topics).length) {
      const description: LogDescription = { ...known, format: FORMAT, topics: Object.fromEntries(wanted) }
      await storage.commit((writes) => writes.note(LOG_NOTE, JSON.stringify(description)))
    }
    return new Log(storage, known.logId, partitions, topics, wanted, notes)
  }

  private constructor(
    storage: LogStorage,
    logId: string,
    count: number,
    topics: Iterable<Topic>,
    numbers: ReadonlyMap<string, { readonly number: number }>,
    notes: ReadonlyMap<string, string>
  ) {
    this.storage = storage
    this.logId = logId
    this.partitions = count
    for (const topic of topics) {
      const first = (numbers.get(topic.name)?.number ?? 0) * SLOTS_PER_TOPIC
      const partitions = Array.from({ length: count }, (_, partition) => {
        const note = notes.get(boundsNote(first + partition))
        const bounds: PartitionBounds = note === undefined ? EMPTY : JSON.parse(note)
        return new Partition(topic, partition, first + partition, bounds, RECENT_BYTES / count)
      })
      this.#topics.set(topic.name, partitions)
      for (const partition of partitions) this.#slots.set(partition.slot, partition)
    }
  }

  topics(): Iterable<ReadonlyArray<Partition>> {
    return this.#topics.values()
  }

  /** Undefined: no such topic. */
  partitionsOf(topic: string): ReadonlyArray<Partition> | undefined {
    return this.#topics.get(topic)
  }

  partitionAt(slot: number): Partition | undefined {
    return this.#slots.get(slot)
  }

  /** Reads on from `from`, stopping before `to`, after `maxRecords` or when `maxBytes` would be passed; a first record that is
   * larger comes alone. */
  read(partition: Partition, from: number, to: number, maxRecords: number, maxBytes: number): Array<StoredRecord> {
    const { topic, slot, bounds } = partition
    const end = Math.min(to, bounds.end)
    if (from >= end) return []
    const recent = partition.recent.read(from, end, maxRecords, maxBytes)
    if (recent !== undefined) return recent
    const records: Array<StoredRecord> = []
    let bytesRead = 0
    this.storage.scan(slot, from, end, (offset, bytes) => {
      bytesRead += bytes.length
      if (records.length > 0 && bytesRead > maxBytes) return false
      if (offset !== from + records.length) throw this.#hole(partition, from + records.length)
      records.push(decodeRecord(topic.name, partition.partition, offset, bytes))
      return records.length < maxRecords
    })
    if (records.length === 0) throw this.#hole(partition, from)
    return records
  }

  /** Instant at which a record that is in the log was appended. */
  appendedAt(partition: Partition, offset: number): Instant {
    let at = partition.recent.at(offset)?.appendedAt
    if (at !== undefined) return at
    this.storage.scan(partition.slot, offset, offset + 1, (_, bytes) => {
      at = appendedAtOf(bytes)
      return false
    })
    if (at === undefined) throw this.#hole(partition, offset)
    return at
  }

  /** The first offset appended at `time` or later; the end when there is none. */
  offsetAt(partition: Partition, time: Instant): number {
    let { start: low, end: high } = partition.bounds
    while (low < high) {
      const middle = Math.floor((low + high) / 2)
      if (this.appendedAt(partition, middle) < time) low = middle + 1
      else high = middle
    }
    return low
  }

  #hole(partition: Partition, offset: number): Error {
    const { start, end } = partition.bounds
    return new Error(
      `record ${offset} of ${partition.topic.name} partition ${partition.partition} is missing from the log, ` +
        `which should hold ${start} to ${end - 1}: its files are damaged, restore them from a backup`
    )
  }
}
