/**
 * The one producer of a process: what arrives while a broker has a request of ours goes into the next, in order of arrival.
 * Idempotent, acknowledged by all in-sync replicas.
 * @module
 */
import { BusUnavailable, RecordTooLarge, UnknownTopic } from "@argusiq/domain/errors.ts"
import type { Topic } from "@argusiq/domain/topics.ts"
import { Exit } from "effect"
import { setTimeout as sleep } from "node:timers/promises"
import type { BusRecord } from "../Bus.ts"
import { partitionOf } from "../murmur2.ts"
import { type Connection } from "./Connection.ts"
import { type Done, ProduceQueue, type Publish, type PublishError, settle, type Waiting } from "./ProduceQueue.ts"
import { type ProducerIdentity, roomOf, sizeOf } from "./recordBatch.ts"
import { produce, type ProducePart } from "./wire.ts"

export interface ProducerOptions {
  readonly topics: ReadonlyMap<string, Topic>
  /** Of each topic. */
  readonly partitions: number
  readonly nameOf: (topic: string) => string
  /** Why records of a topic may not be appended at the moment. */
  readonly refusal: (topic: string) => string | undefined
  /** How long a record may wait for its acknowledgement. */
  readonly deliveryMillis: number
}

const MAX_REQUEST_BYTES = 8_388_608
/** Of everything that waits: beyond it the sender is to slow down. */
const MAX_WAITING_BYTES = 268_435_456
const PRODUCE_TIMEOUT_MILLIS = 8_000

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
  readonly #queues = new Map<string, ProduceQueue>()
  /** With something to send. */
  readonly #active = new Set<ProduceQueue>()
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
    const queues: Array<ProduceQueue> = []
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
      queues.push(this.#queueOf(topic, partitionOf(this.#options.partitions, Buffer.from(record.key))))
      waiting.push({ record, room: roomOf(record, size), publish, since })
    }
    for (let index = 0; index < waiting.length; index++) {
      const queue = queues[index] as ProduceQueue
      queue.add(waiting[index] as Waiting)
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

  #queueOf({ name }: Topic, partition: number): ProduceQueue {
    const topic = this.#options.nameOf(name)
    const key = `${topic}/${partition}`
    let queue = this.#queues.get(key)
    if (queue === undefined) this.#queues.set(key, (queue = new ProduceQueue(topic, partition)))
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
    const byBroker = new Map<number, Array<ProduceQueue>>()
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

  async #sendTo(nodeId: number, queues: ReadonlyArray<ProduceQueue>): Promise<void> {
    this.#brokersAtWork.add(nodeId)
    const taken: Array<ProduceQueue> = []
    const parts: Array<ProducePart> = []
    try {
      let bytes = 0
      for (const queue of queues) {
        if (bytes > MAX_REQUEST_BYTES) break
        queue.busy = true
        taken.push(queue)
        const batch = await queue.batch(() => this.#commonIdentity())
        parts.push({ topic: queue.topic, partition: queue.partition, batch })
        bytes += batch.length
      }
      const broker = await this.#connection.broker(nodeId)
      const { codes } = await produce(broker, parts, PRODUCE_TIMEOUT_MILLIS)
      let passingCode: number | undefined
      for (const queue of taken) {
        const code = codes.get(queue.key)
        if (code === 0 || code === DUPLICATE_SEQUENCE) this.#settle(queue, queue.acknowledged(), undefined)
        else if (code !== undefined && unknownSequence.has(code)) queue.renumber(await this.#newIdentity())
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

  /** Gives up the batch that is on its way. Whoever takes an identity later gets another. */
  #fail(queue: ProduceQueue, error: PublishError): void {
    this.#identity = undefined
    this.#settle(queue, queue.giveUp(), error)
  }

  #settle(queue: ProduceQueue, settled: ReadonlyArray<Waiting>, error: PublishError | undefined): void {
    if (queue.isEmpty) this.#active.delete(queue)
    for (const { room } of settled) this.#waitingBytes -= room
    settle(settled, error)
  }

  /** Gives up what has waited too long; true where nothing is left to send. */
  #isLate(queue: ProduceQueue, now: number): boolean {
    const { since } = queue
    if (since !== undefined && now - since > this.#options.deliveryMillis) {
      const seconds = Math.round((now - since) / 1_000)
      const why = this.#lastError instanceof Error ? `: ${this.#lastError.message}` : ""
      const error = unavailable(`Kafka did not acknowledge within ${seconds} s${why}`, this.#lastError)
      const late = queue.takeLate(now - this.#options.deliveryMillis)
      if (queue.hasBatch) this.#fail(queue, error)
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
