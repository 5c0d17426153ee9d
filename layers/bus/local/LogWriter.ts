/**
 * The one writer of the log: what arrives while a transaction is being flushed goes into the next, in order of arrival.
 * @module
 */
import { BusUnavailable, RecordTooLarge, UnknownTopic } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import type { Topic } from "@argusiq/domain/topics.ts"
import { Exit } from "effect"
import type { BusRecord, StoredRecord } from "../Bus.ts"
import { partitionOf } from "../murmur2.ts"
import { type Log, noteBounds, type Partition, type PartitionBounds } from "./Log.ts"
import type { LogWrites } from "./LogStorage.ts"
import { type EncodedRecord, RecordEncoder } from "./recordBytes.ts"

export type PublishError = BusUnavailable | RecordTooLarge | UnknownTopic

export interface WriterOptions {
  readonly now: () => Instant
  /** Why nothing may be appended at the moment. */
  readonly refusal: () => string | undefined
}

interface Publish {
  readonly records: ReadonlyArray<BusRecord>
  readonly done: (exit: Exit.Exit<void, PublishError>) => void
}

/** Another change of the log, in the transaction of the records or in one of its own. */
export interface Change {
  /** Adds its writes. */
  readonly write: (transaction: Transaction) => void
  /** Success: durable. */
  readonly done: (exit: Exit.Exit<void, BusUnavailable>) => void
}

/** What one commit does: writes, and the bounds that hold once they are durable. */
export class Transaction {
  readonly writes: LogWrites
  readonly #bounds = new Map<Partition, Writable<PartitionBounds>>()

  constructor(writes: LogWrites) {
    this.writes = writes
  }

  /** Of the partitions that it changes. */
  get bounds(): ReadonlyMap<Partition, PartitionBounds> {
    return this.#bounds
  }

  boundsOf(partition: Partition): PartitionBounds {
    return this.#bounds.get(partition) ?? partition.bounds
  }

  /** The transaction's own, to be changed. */
  ownBoundsOf(partition: Partition): Writable<PartitionBounds> {
    let bounds = this.#bounds.get(partition)
    if (bounds === undefined) this.#bounds.set(partition, (bounds = { ...partition.bounds }))
    return bounds
  }
}

type Writable<A> = { -readonly [K in keyof A]: A[K] }

interface Appendable {
  readonly partition: Partition
  readonly record: BusRecord
  readonly bytes: Uint8Array
  /** Known once it is among the writes of a transaction. */
  offset: number
}

const MAX_COMMIT_BYTES = 16_777_216
const MAX_COMMIT_RECORDS = 20_000

const unavailable = (message: string, cause?: unknown): Exit.Exit<never, BusUnavailable> =>
  Exit.fail(new BusUnavailable({ cause: new Error(message, { cause }) }))

const tooLarge = ({ maxRecordBytes, name }: Topic, bytes: number): Exit.Exit<never, RecordTooLarge> =>
  Exit.fail(new RecordTooLarge({ topic: name, bytes, limit: maxRecordBytes }))

const closed = unavailable("the log is closed: the platform is stopping")

export class LogWriter {
  readonly #log: Log
  readonly #options: WriterOptions
  readonly #encoder = new RecordEncoder()
  #publishes: Array<Publish> = []
  #changes: Array<Change> = []
  #appendedAt: Instant = 0
  #running: Promise<void> | undefined
  #closed = false

  constructor(log: Log, options: WriterOptions) {
    this.#log = log
    this.#options = options
    for (const partitions of log.topics()) {
      for (const { bounds } of partitions) this.#appendedAt = Math.max(this.#appendedAt, bounds.appendedAt)
    }
  }

  /** The records are handed over: readers may get the same objects and bytes. */
  publish(records: ReadonlyArray<BusRecord>, done: Publish["done"]): void {
    if (this.#closed) return done(closed)
    this.#publishes.push({ records, done })
    this.#start()
  }

  change(change: Change): void {
    if (this.#closed) return change.done(closed)
    this.#changes.push(change)
    this.#start()
  }

  /** Refuses what comes from here on and resolves when all that came before is settled. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#running
  }

  #start(): void {
    this.#running ??= this.#run()
  }

  async #run(): Promise<void> {
    while (this.#publishes.length > 0 || this.#changes.length > 0) {
      // The rest of this turn's calls join the transaction.
      await new Promise(setImmediate)
      await this.#commit()
    }
    this.#running = undefined
  }

  async #commit(): Promise<void> {
    const changes = this.#changes
    this.#changes = []
    const appended = Math.max(this.#appendedAt, this.#options.now())
    const { publishes, records } = this.#encode(appended)
    if (publishes.length === 0 && changes.length === 0) return
    let transaction: Transaction | undefined
    try {
      await this.#log.storage.commit((writes) => {
        transaction = new Transaction(writes)
        for (const record of records) append(transaction, record, appended)
        for (const change of changes) change.write(transaction)
        for (const [partition, bounds] of transaction.bounds) noteBounds(writes, partition.slot, bounds)
      })
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause)
      const failure = unavailable(`the log could not be written (${reason}): nothing of it was acknowledged`, cause)
      for (const publish of publishes) publish.done(failure)
      for (const change of changes) change.done(failure)
      return
    }
    this.#appendedAt = appended
    for (const record of records) remember(record, appended)
    for (const [partition, bounds] of transaction?.bounds ?? []) partition.bounds = bounds
    for (const publish of publishes) publish.done(Exit.void)
    for (const change of changes) change.done(Exit.void)
    for (const partition of transaction?.bounds.keys() ?? []) for (const reader of partition.readers) reader.wake()
  }

  /** Takes publishes from the queue up to the size of a commit, and answers those that cannot be appended. */
  #encode(appendedAt: Instant): { publishes: Array<Publish>; records: Array<Appendable> } {
    this.#encoder.reset()
    const queue = this.#publishes
    const publishes: Array<Publish> = []
    const refused: Array<() => void> = []
    const records: Array<Appendable> = []
    const refusal = this.#options.refusal()
    let bytes = 0
    let taken = 0
    while (taken < queue.length && bytes < MAX_COMMIT_BYTES && records.length < MAX_COMMIT_RECORDS) {
      const publish = queue[taken++] as Publish
      const before = records.length
      const error = refusal === undefined ? this.#encodeAll(publish.records, appendedAt, records) : unavailable(refusal)
      if (error === undefined) publishes.push(publish)
      else {
        records.length = before
        refused.push(() => publish.done(error))
      }
      for (let i = before; i < records.length; i++) bytes += (records[i] as Appendable).bytes.length
    }
    this.#publishes = queue.slice(taken)
    for (const answer of refused) answer() // who is answered may publish again at once
    return { publishes, records }
  }

  /** Undefined: all are encoded. */
  #encodeAll(
    records: ReadonlyArray<BusRecord>,
    appendedAt: Instant,
    into: Array<Appendable>
  ): Exit.Exit<never, PublishError> | undefined {
    for (const record of records) {
      const partitions = this.#log.partitionsOf(record.topic)
      const topic = partitions?.[0]?.topic
      if (partitions === undefined || topic === undefined) return Exit.fail(new UnknownTopic({ topic: record.topic }))
      if (record.value.length > topic.maxRecordBytes) return tooLarge(topic, record.value.length)
      let encoded: EncodedRecord
      try {
        encoded = this.#encoder.encode(record, appendedAt)
      } catch (defect) {
        return Exit.die(defect) // not a record: the caller's fault, which must not stop the writer
      }
      const { bytes, keyEnd, keyStart, size } = encoded
      if (size > topic.maxRecordBytes) return tooLarge(topic, size)
      const partition = partitions[partitionOf(partitions.length, bytes, keyStart, keyEnd)] as Partition
      into.push({ partition, record, bytes, offset: -1 })
    }
    return undefined
  }
}

const append = (transaction: Transaction, appendable: Appendable, appendedAt: Instant): void => {
  const { bytes, partition } = appendable
  const bounds = transaction.ownBoundsOf(partition)
  appendable.offset = bounds.end++
  transaction.writes.put(partition.slot, appendable.offset, bytes)
  bounds.bytes += bytes.length
  bounds.appendedAt = appendedAt
}

const remember = ({ bytes, offset, partition, record }: Appendable, appendedAt: Instant): void => {
  const { readers, recent, topic } = partition
  if (readers.size === 0) return
  const { key, headers, value } = record
  const stored: StoredRecord = {
    topic: topic.name,
    partition: partition.partition,
    offset: BigInt(offset),
    appendedAt,
    key,
    headers,
    value: new Uint8Array(value.buffer, value.byteOffset, value.length),
    parsed: record.json ?? (readers.size > 1 ? null : undefined)
  }
  recent.add(offset, stored, bytes.length)
}
