/**
 * Reads ahead of what is handled: of each broker, in one request at a time, all partitions that have room for more.
 * @module
 */
import type { Connection } from "./Connection.ts"
import { type Decoded, decodeBatches } from "./recordBatch.ts"
import { fetch, type Fetched } from "./wire.ts"
import { setTimeout as sleep } from "node:timers/promises"

/** A partition that is read. `from` and `epoch` change when it is to be read from elsewhere. */
export interface Readable {
  /** As Kafka knows it. */
  readonly kafkaTopic: string
  readonly topic: string
  readonly partition: number
  readonly epoch: number
  readonly from: number
  /** There is room for more of it. */
  readonly wants: boolean
  /** There is none, and will be in a moment. */
  readonly isFull: boolean
}

export interface FetcherOptions<P extends Readable> {
  readonly partitions: () => Iterable<P>
  readonly fetched: (partition: P, decoded: Decoded, end: number) => void
  /** All of an answer has been reported. */
  readonly answered: () => void
  /** Its offset is not in the log. */
  readonly misplaced: (partition: P) => void
  /** Another broker leads it, or it was removed and perhaps made again. */
  readonly moved: (partition: P) => void
  readonly failed: (error: unknown) => void
}

const PARTITION_BYTES = 1_048_576
const REQUEST_BYTES = 16_777_216
const MAX_WAIT_MILLIS = 250
/** Where a partition could not be asked for: it may have room any moment. */
const SHORT_WAIT_MILLIS = 10
const OFFSET_OUT_OF_RANGE = 1
/** Unknown topic or partition, no leader, another leader, an offline replica, another epoch of the leader, an end not
 * known yet, an unknown topic's id. */
const movedCodes: ReadonlySet<number> = new Set([3, 5, 6, 9, 56, 74, 75, 76, 78, 100])

export class Fetcher<P extends Readable> {
  readonly #connection: Connection
  readonly #options: FetcherOptions<P>
  readonly #brokersAtWork = new Set<number>()
  #recovering = false
  #scheduled = false
  #stopped = false

  constructor(connection: Connection, options: FetcherOptions<P>) {
    this.#connection = connection
    this.#options = options
  }

  /** To be called when a partition may have room, or is to be read from elsewhere. */
  wake(): void {
    if (this.#scheduled || this.#stopped) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      if (!this.#stopped && !this.#recovering) this.#fetch()
    })
  }

  /** Nothing is reported from here on. */
  stop(): void {
    this.#stopped = true
  }

  #fetch(): void {
    const byBroker = new Map<number, Array<P>>()
    let leaderless = false
    let full = false
    for (const partition of this.#options.partitions()) {
      if (!partition.wants) {
        full ||= partition.isFull
        continue
      }
      const leader = this.#connection.leaderOf(partition.kafkaTopic, partition.partition)
      if (leader === undefined) leaderless = true
      else if (!this.#brokersAtWork.has(leader)) {
        const led = byBroker.get(leader)
        if (led === undefined) byBroker.set(leader, [partition])
        else led.push(partition)
      }
    }
    for (const [broker, led] of byBroker) void this.#fetchFrom(broker, led, full ? SHORT_WAIT_MILLIS : MAX_WAIT_MILLIS)
    if (leaderless) void this.#recover()
  }

  async #fetchFrom(nodeId: number, led: ReadonlyArray<P>, maxWait: number): Promise<void> {
    this.#brokersAtWork.add(nodeId)
    try {
      const asked = led.map((partition) => ({ partition, from: partition.from, epoch: partition.epoch }))
      const broker = await this.#connection.broker(nodeId)
      const parts = asked.map(({ partition: { kafkaTopic, partition }, from }) => ({
        topic: kafkaTopic,
        partition,
        offset: from,
        maxBytes: PARTITION_BYTES
      }))
      // Not always the same partition first: the first gets most where not all fit.
      parts.push(...parts.splice(0, Math.floor(Math.random() * parts.length)))
      const { partitions } = await fetch(broker, parts, maxWait, REQUEST_BYTES)
      if (this.#stopped) return
      const answers = new Map(partitions.map((answer) => [`${answer.topic}/${answer.partition}`, answer]))
      let moved = false
      for (const { partition, from, epoch } of asked) {
        const answer = answers.get(`${partition.kafkaTopic}/${partition.partition}`)
        if (answer === undefined || partition.epoch !== epoch || partition.from !== from) continue
        moved = this.#take(partition, from, answer) || moved
      }
      this.#options.answered()
      if (moved) await this.#recover()
    } catch (error) {
      if (this.#stopped) return
      this.#options.failed(error)
      await this.#recover(error)
    } finally {
      this.#brokersAtWork.delete(nodeId)
      this.wake()
    }
  }

  /** Whether it is to be looked for elsewhere. */
  #take(partition: P, from: number, answer: Fetched): boolean {
    if (answer.code === 0) {
      const decoded = decodeBatches(answer.batches, partition.topic, partition.partition, from)
      this.#options.fetched(partition, decoded, answer.end)
      return false
    }
    if (answer.code === OFFSET_OUT_OF_RANGE) {
      this.#options.misplaced(partition)
      return false
    }
    if (!movedCodes.has(answer.code)) {
      throw new Error(`${answer.topic}/${answer.partition} could not be read: error ${answer.code}`)
    }
    this.#options.moved(partition)
    return true
  }

  /** Without an error, only looks who leads what. */
  async #recover(error?: unknown): Promise<void> {
    if (this.#recovering || this.#stopped) return
    this.#recovering = true
    try {
      await sleep(100)
      if (error === undefined) await this.#connection.refresh()
      else await this.#connection.recover(error)
      await this.#connection.cluster()
    } catch {
      this.#connection.reset()
      await sleep(400)
    }
    this.#recovering = false
    this.wake()
  }
}
