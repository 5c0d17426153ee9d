/**
 * The one producer of a process: what arrives while a broker has a request of ours goes into the next, in order of arrival.
 * Idempotent, acknowledged by all in-sync replicas.
 *
 * A batch whose fate is not known is sent again as it was, byte by byte, until a broker says that it has it: brokers know a
 * batch by its producer and sequence. One that is given up takes its producer's identity with it, so that no other batch can
 * be taken for it.
 * @module
 */
import { BusUnavailable, RecordTooLarge, UnknownTopic } from "@argusiq/domain/errors.ts"
import type { Topic } from "@argusiq/domain/topics.ts"
import { Exit } from "effect"
import { setTimeout as sleep } from "node:timers/promises"
import type { BusRecord } from "../Bus.ts"
import { partitionOf } from "../murmur2.ts"
import { type Connection } from "./Connection.ts"
import { encodeBatch, type ProducerIdentity, roomOf, sizeOf } from "./recordBatch.ts"
import { MAX_BATCH_BYTES } from "./topics.ts"
import { produce } from "./wire.ts"

export type PublishError = BusUnavailable | RecordTooLarge | UnknownTopic
type Done = (exit: Exit.Exit<void, PublishError>) => void

export interface ProducerOptions {
  readonly topics: ReadonlyMap<string, Topic>
  readonly nameOf: (topic: string) => string
  /** Why records of a topic may not be appended at the moment. */
  readonly refusal: (topic: string) => string | undefined
  /** How long a record may wait for its acknowledgement. */
  readonly deliveryMillis: number
}

/** One call, with what is not yet acknowledged of it. */
interface Publish {
  left: number
  error: PublishError | undefined
  readonly done: Done
}
interface Waiting {
  readonly record: BusRecord
  readonly room: number
  readonly publish: Publish
  readonly since: number
}
interface Sent {
  readonly waiting: ReadonlyArray<Waiting>
  readonly room: number
  /** As it goes over the wire; undefined when it is to get another identity. */
  bytes: Buffer | undefined
}
interface PartitionQueue {
  readonly key: string
  /** As Kafka knows it. */
  readonly topic: string
  readonly partition: number
  waiting: Array<Waiting>
  sent: Sent | undefined
  identity: ProducerIdentity | undefined
  sequence: number
  /** In a request that is under way. */
  busy: boolean
}

const MAX_REQUEST_BYTES = 8_388_608
/** Of one batch. */
const MAX_RECORDS = 10_000
/** Of everything that waits: beyond it the sender is to slow down. */
const MAX_WAITING_BYTES = 268_435_456
const PRODUCE_TIMEOUT_MILLIS = 8_000
const SEQUENCES = 2 ** 31

/** Error codes of the protocol. */
const DUPLICATE_SEQUENCE = 46
/** The broker does not know our numbering; the batch was not appended under it. */
const unknownSequence: ReadonlySet<number> = new Set([45, 47, 59])
/** Passes by itself: unknown or moved leaders, too few replicas, time-outs, storage errors. */
const passing: ReadonlySet<number> = new Set([3, 5, 6, 7, 8, 9, 13, 19, 20, 56, 72, 74, 75, 76, 78, 89])

const meaning: ReadonlyMap<number, string> = new Map([
  [2, "it found it damaged"],
  [10, "it is larger than the topic's max.message.bytes"],
  [17, "it takes the topic's name for invalid"],
  [18, "it is larger than the broker's segments"],
  [29, "this user may not write to the topic"],
  [31, "this user may not produce idempotently"],
  [44, "a policy of the cluster forbids it"],
  [87, "it found a record invalid"]
])

const unavailable = (message: string, cause?: unknown): BusUnavailable =>
  new BusUnavailable({ cause: new Error(message, { cause }) })

export class Producer {
  readonly #connection: Connection
  readonly #options: ProducerOptions
  readonly #queues = new Map<string, PartitionQueue>()
  /** With something to send. */
  readonly #active = new Set<PartitionQueue>()
  readonly #brokersAtWork = new Set<number>()
  #identity: Promise<ProducerIdentity> | undefined
  #waitingBytes = 0
  #scheduled = false
  #recovering = false
  #lastError: unknown
  #closed = false
  #drained: (() => void) | undefined

  constructor(connection: Connection, options: ProducerOptions) {
    this.#connection = connection
    this.#options = options
  }

  /** The records must stay unchanged until `done` is called. */
  publish(records: ReadonlyArray<BusRecord>, done: Done): void {
    if (this.#closed) return done(Exit.fail(unavailable("the bus is closed: the platform is stopping")))
    if (this.#waitingBytes > MAX_WAITING_BYTES) {
      return done(
        Exit.fail(unavailable("Kafka takes less than is published: too much is waiting for it", this.#lastError))
      )
    }
    const publish: Publish = { left: records.length, error: undefined, done }
    const since = performance.now()
    const queues: Array<PartitionQueue> = []
    const waiting: Array<Waiting> = []
    for (const record of records) {
      const topic = this.#options.topics.get(record.topic)
      if (topic === undefined) return done(Exit.fail(new UnknownTopic({ topic: record.topic })))
      const size = sizeOf(record)
      if (size > topic.maxRecordBytes) {
        return done(Exit.fail(new RecordTooLarge({ topic: record.topic, bytes: size, limit: topic.maxRecordBytes })))
      }
      const refusal = this.#options.refusal(record.topic)
      if (refusal !== undefined) return done(Exit.fail(unavailable(refusal)))
      queues.push(this.#queueOf(topic, partitionOf(topic.partitions, Buffer.from(record.key))))
      waiting.push({ record, room: roomOf(record, size), publish, since })
    }
    for (let index = 0; index < waiting.length; index++) {
      const queue = queues[index] as PartitionQueue
      queue.waiting.push(waiting[index] as Waiting)
      this.#waitingBytes += (waiting[index] as Waiting).room
      this.#active.add(queue)
    }
    this.#schedule()
  }

  /** Refuses what comes from here on and resolves when all that came before is settled. */
  async close(): Promise<void> {
    this.#closed = true
    if (this.#active.size > 0) await new Promise<void>((resolve) => (this.#drained = resolve))
  }

  #queueOf({ name }: Topic, partition: number): PartitionQueue {
    const topic = this.#options.nameOf(name)
    const key = `${topic}/${partition}`
    let queue = this.#queues.get(key)
    if (queue === undefined) {
      queue = { key, topic, partition, waiting: [], sent: undefined, identity: undefined, sequence: 0, busy: false }
      this.#queues.set(key, queue)
    }
    return queue
  }

  /** The rest of this turn's calls join the requests. */
  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#send()
    })
  }

  #send(): void {
    const byBroker = new Map<number, Array<PartitionQueue>>()
    let leaderless = false
    const now = performance.now()
    for (const queue of this.#active) {
      if (queue.busy) continue
      if (this.#isLate(queue, now)) continue
      const leader = this.#connection.leaderOf(queue.topic, queue.partition)
      if (leader === undefined) leaderless = true
      else if (!this.#brokersAtWork.has(leader)) {
        const queues = byBroker.get(leader)
        if (queues === undefined) byBroker.set(leader, [queue])
        else queues.push(queue)
      }
    }
    for (const [broker, queues] of byBroker) void this.#sendTo(broker, queues)
    if (leaderless) this.#recover(new Error("nobody leads the partition"), false)
    if (this.#active.size === 0) this.#drained?.()
  }

  async #sendTo(nodeId: number, queues: ReadonlyArray<PartitionQueue>): Promise<void> {
    this.#brokersAtWork.add(nodeId)
    const taken: Array<PartitionQueue> = []
    try {
      let bytes = 0
      for (const queue of queues) {
        if (bytes > MAX_REQUEST_BYTES) break
        queue.busy = true
        taken.push(queue)
        bytes += await this.#fill(queue)
      }
      const broker = await this.#connection.broker(nodeId)
      const parts = taken.map(({ topic, partition, sent }) => ({ topic, partition, batch: sent!.bytes! }))
      const { codes } = await produce(broker, parts, PRODUCE_TIMEOUT_MILLIS)
      let passingCode: number | undefined
      for (const queue of taken) {
        const code = codes.get(queue.key)
        if (code === 0 || code === DUPLICATE_SEQUENCE) this.#acknowledge(queue)
        else if (code !== undefined && unknownSequence.has(code)) await this.#renumber(queue)
        else if (code === undefined || passing.has(code)) passingCode = code ?? 3
        else
          this.#fail(
            queue,
            unavailable(`Kafka refused what is for ${queue.key}: ${meaning.get(code) ?? `error ${code}`}`)
          )
      }
      if (passingCode !== undefined) this.#recover(new Error(`a broker answered with error ${passingCode}`), false)
    } catch (error) {
      this.#recover(error, true)
    } finally {
      for (const queue of taken) queue.busy = false
      this.#brokersAtWork.delete(nodeId)
      this.#schedule()
    }
  }

  /** Sees to it that the queue has a batch to send; its size. */
  async #fill(queue: PartitionQueue): Promise<number> {
    queue.identity ??= await this.#commonIdentity()
    queue.sent ??= take(queue)
    const { sent } = queue
    sent.bytes ??= encodeBatch(
      sent.waiting.map(({ record }) => record),
      sent.room,
      queue.identity,
      queue.sequence,
      Date.now()
    )
    return sent.bytes.length
  }

  #acknowledge(queue: PartitionQueue): void {
    const { sent } = queue
    if (sent === undefined) return
    queue.sequence = (queue.sequence + sent.waiting.length) % SEQUENCES
    queue.sent = undefined
    this.#settle(queue, sent.waiting, undefined)
  }

  /** The batch goes on under an identity of its partition's own. */
  async #renumber(queue: PartitionQueue): Promise<void> {
    queue.identity = await this.#newIdentity()
    queue.sequence = 0
    if (queue.sent !== undefined) queue.sent.bytes = undefined
  }

  #fail(queue: PartitionQueue, error: PublishError): void {
    const { sent } = queue
    if (sent === undefined) return
    queue.sent = undefined
    this.#forgetIdentity(queue)
    this.#settle(queue, sent.waiting, error)
  }

  #forgetIdentity(queue: PartitionQueue): void {
    this.#identity = undefined
    queue.identity = undefined
    queue.sequence = 0
  }

  #settle(queue: PartitionQueue, settled: ReadonlyArray<Waiting>, error: PublishError | undefined): void {
    if (queue.sent === undefined && queue.waiting.length === 0) this.#active.delete(queue)
    for (const { publish, room } of settled) {
      this.#waitingBytes -= room
      publish.error ??= error
      if (--publish.left === 0) publish.done(publish.error === undefined ? Exit.void : Exit.fail(publish.error))
    }
  }

  /** Gives up what has waited too long; true where nothing is left to send. */
  #isLate(queue: PartitionQueue, now: number): boolean {
    const oldest = queue.sent?.waiting[0] ?? queue.waiting[0]
    if (oldest !== undefined && now - oldest.since > this.#options.deliveryMillis) {
      const seconds = Math.round((now - oldest.since) / 1_000)
      const why = this.#lastError instanceof Error ? `: ${this.#lastError.message}` : ""
      const error = unavailable(`Kafka did not acknowledge within ${seconds} s${why}`, this.#lastError)
      const late = queue.waiting.filter(({ since }) => now - since > this.#options.deliveryMillis)
      queue.waiting = queue.waiting.slice(late.length)
      if (queue.sent !== undefined) this.#fail(queue, error)
      this.#settle(queue, late, error)
    }
    return !this.#active.has(queue)
  }

  /** Looks after a pause where the partitions are, and connects again where `lost`; then what waits is sent. */
  #recover(error: unknown, lost: boolean): void {
    this.#lastError = error
    if (this.#recovering) return
    this.#recovering = true
    void (async () => {
      await sleep(100)
      try {
        if (lost) await this.#connection.recover(error)
        else await this.#connection.refresh()
        await this.#connection.cluster()
      } catch (cause) {
        this.#lastError = cause
        this.#connection.reset()
        await sleep(200)
      }
      this.#recovering = false
      this.#schedule()
    })()
  }

  #commonIdentity(): Promise<ProducerIdentity> {
    this.#identity ??= this.#newIdentity().catch((error: unknown) => {
      this.#identity = undefined
      throw error
    })
    return this.#identity
  }

  async #newIdentity(): Promise<ProducerIdentity> {
    const broker = await this.#connection.anyBroker()
    const { producerId, producerEpoch } = await broker.initProducerId({ transactionTimeout: 60_000 })
    return { id: BigInt(producerId), epoch: producerEpoch }
  }
}

const take = (queue: PartitionQueue): Sent => {
  let room = 0
  let count = 0
  while (count < queue.waiting.length && count < MAX_RECORDS) {
    const next = (queue.waiting[count] as Waiting).room
    if (count > 0 && room + next > MAX_BATCH_BYTES) break
    room += next
    count++
  }
  const waiting = queue.waiting.slice(0, count)
  queue.waiting = queue.waiting.slice(count)
  return { waiting, room, bytes: undefined }
}
