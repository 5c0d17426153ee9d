/**
 * What is asked of Kafka outside of subscriptions: offsets, records of a stretch, what groups have committed, sizes.
 * @module
 */
import type { StoredRecord, TopicPartition } from "../Bus.ts"
import { type Connection, isCoordinatorAway } from "./Connection.ts"
import { type Broker, protocolError } from "./kafkajs.ts"
import { commitOffsets, keyOf, type Offset } from "./Membership.ts"
import { appendedAtOf, decodeBatches } from "./recordBatch.ts"
import { committedOffsets, fetch, logSizes, topicIds } from "./wire.ts"
import { setTimeout as sleep } from "node:timers/promises"

const PAGE_BYTES = 4_194_304
const TRIES = 4
const COORDINATOR_TRIES = 15
/** An answer that took longer may come from a broker that was frozen and has not heard yet that another leads by now. */
const PROMPT_MILLIS = 1_500
const OFFSET_OUT_OF_RANGE = 1

export const EARLIEST = -2
export const LATEST = -1

/**
 * Topics are named as Kafka knows them. Every call tries again for about a second, for ten where a group's coordinator is
 * not ready, and then throws.
 */
export class LogReader {
  readonly #connection: Connection
  readonly #coordinators = new Map<string, Broker>()

  constructor(connection: Connection) {
    this.#connection = connection
  }

  async #attempt<A>(request: () => Promise<A>): Promise<A> {
    for (let tries = 1; ; tries++) {
      try {
        return await request()
      } catch (error) {
        if (tries >= (isCoordinatorAway(error) ? COORDINATOR_TRIES : TRIES)) throw error
        await this.#connection.recover(error)
        await sleep(100 * tries)
      }
    }
  }

  async #leader({ topic, partition }: TopicPartition): Promise<Broker> {
    await this.#connection.cluster()
    const leader = this.#connection.leaderOf(topic, partition)
    if (leader === undefined) {
      await this.#connection.refresh()
      throw new Error(`nobody leads ${keyOf(topic, partition)}`)
    }
    return this.#connection.broker(leader)
  }

  /** By `topic/partition`: of the first record appended at `millis` or later, -1 for none; or {@link EARLIEST}, {@link LATEST}. */
  offsets(partitions: ReadonlyArray<TopicPartition>, millis: number): Promise<ReadonlyMap<string, number>> {
    let hasWaited = false
    return this.#attempt(async () => {
      const brokers = new Map<Broker, Array<TopicPartition>>()
      for (const at of partitions) {
        const broker = await this.#leader(at)
        brokers.set(broker, [...(brokers.get(broker) ?? []), at])
      }
      const found = new Map<string, number>()
      for (const [broker, led] of brokers) {
        const topics = Array.from(
          Map.groupBy(led, ({ topic }) => topic),
          ([topic, all]) => ({ topic, partitions: all.map(({ partition }) => ({ partition, timestamp: millis })) })
        )
        const asked = performance.now()
        const { responses } = await broker.listOffsets({ topics })
        if (performance.now() - asked > PROMPT_MILLIS && !hasWaited) {
          hasWaited = true
          throw new Error("the answer took too long to be relied on")
        }
        for (const { topic, partitions: answered } of responses) {
          for (const { partition, offset } of answered) found.set(keyOf(topic, partition), Number(offset))
        }
      }
      return found
    })
  }

  /** From `from` on, as many as one answer holds; `from` moves to the start of the log where it is below it. */
  page({ topic, partition }: TopicPartition, from: number, maxBytes = PAGE_BYTES) {
    return this.#attempt(async (): Promise<Page> => {
      const broker = await this.#leader({ topic, partition })
      const { partitions } = await fetch(broker, [{ topic, partition, offset: from, maxBytes }], 0, maxBytes)
      const answer = partitions[0]
      if (answer?.code === OFFSET_OUT_OF_RANGE) {
        const start = (await this.offsets([{ topic, partition }], EARLIEST)).get(keyOf(topic, partition)) ?? 0
        return start > from ? this.page({ topic, partition }, start, maxBytes) : { records: [], next: from, end: from }
      }
      if (answer === undefined || answer.code !== 0) {
        await this.#connection.refresh()
        throw new Error(`${keyOf(topic, partition)} could not be read: error ${answer?.code}`)
      }
      return { ...decodeBatches(answer.batches, topic, partition, from), end: answer.end }
    })
  }

  /** When the first record from `from` on was appended, in microseconds; undefined: there is none. */
  appendedAt({ topic, partition }: TopicPartition, from: number): Promise<number | undefined> {
    return this.#attempt(async () => {
      const broker = await this.#leader({ topic, partition })
      const { partitions } = await fetch(broker, [{ topic, partition, offset: from, maxBytes: 1 }], 0, 1)
      const answer = partitions[0]
      if (answer === undefined || (answer.code !== 0 && answer.code !== OFFSET_OUT_OF_RANGE)) {
        await this.#connection.refresh()
        throw new Error(`${keyOf(topic, partition)} could not be read: error ${answer?.code}`)
      }
      if (answer.code === 0) return appendedAtOf(answer.batches, from)
      const start = (await this.offsets([{ topic, partition }], EARLIEST)).get(keyOf(topic, partition)) ?? 0
      return start > from ? this.appendedAt({ topic, partition }, start) : undefined
    })
  }

  /** What a group has committed, of all topics; none where it has not. */
  committed(groupId: string): Promise<ReadonlyArray<Offset>> {
    return this.#attempt(async () => {
      const coordinator = this.#coordinators.get(groupId) ?? (await this.#connection.coordinator(groupId))
      // Asked for anew after any failure.
      this.#coordinators.delete(groupId)
      const { code, offsets } = await committedOffsets(coordinator, groupId)
      if (code !== 0) throw protocolError(code)
      this.#coordinators.set(groupId, coordinator)
      return offsets.filter(({ offset }) => offset >= 0)
    })
  }

  /** Of all brokers. */
  groups(): Promise<ReadonlyArray<string>> {
    return this.#attempt(async () => {
      const cluster = await this.#connection.cluster()
      const groups: Array<string> = []
      for (const nodeId of cluster.getNodeIds()) {
        const answer = await (await this.#connection.broker(Number(nodeId))).listGroups()
        groups.push(...answer.groups.map(({ groupId }) => groupId))
      }
      return groups
    })
  }

  /** Of a group without members. */
  commit(groupId: string, offsets: ReadonlyArray<Offset>): Promise<unknown> {
    return this.#attempt(async () =>
      commitOffsets(await this.#connection.coordinator(groupId), groupId, -1, "", offsets)
    )
  }

  topicIds(topics: ReadonlyArray<string>): Promise<ReadonlyMap<string, string>> {
    return this.#attempt(async () => (await topicIds(await this.#connection.anyBroker(), topics)).ids)
  }

  /** Bytes by `topic/partition`, as its leader has them. */
  sizes(topics: ReadonlyMap<string, number>): Promise<ReadonlyMap<string, number>> {
    return this.#attempt(async () => {
      const cluster = await this.#connection.cluster()
      const sizes = new Map<string, number>()
      for (const nodeId of cluster.getNodeIds()) {
        const led = Array.from(topics, ([topic, count]) => ({
          topic,
          partitions: Array.from({ length: count }, (_, partition) => partition).filter(
            (partition) => this.#connection.leaderOf(topic, partition) === Number(nodeId)
          )
        })).filter(({ partitions }) => partitions.length > 0)
        if (led.length === 0) continue
        const answer = await logSizes(await this.#connection.broker(Number(nodeId)), led)
        for (const [key, bytes] of answer.sizes) sizes.set(key, bytes)
      }
      return sizes
    })
  }
}

export interface Page {
  readonly records: ReadonlyArray<StoredRecord>
  readonly next: number
  /** Where the log ended when it was read. */
  readonly end: number
}
