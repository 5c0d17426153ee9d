/**
 * What is to be appended to one partition: records that wait, in order of arrival, and the batch of them that is on its way.
 *
 * A batch whose fate is not known is sent again as it was, byte by byte, until a broker says that it has it: brokers know a
 * batch by its producer and sequence. One that is given up takes its producer's identity with it, so that no other batch can
 * be taken for it.
 * @module
 */
import type { BusUnavailable, RecordTooLarge, UnknownTopic } from "@argusiq/domain/errors.ts"
import { Exit } from "effect"
import type { BusRecord } from "../Bus.ts"
import { encodeBatch, type ProducerIdentity } from "./recordBatch.ts"
import { MAX_BATCH_BYTES } from "./topics.ts"

export type PublishError = BusUnavailable | RecordTooLarge | UnknownTopic
export type Done = (exit: Exit.Exit<void, PublishError>) => void

/** One call, with what is not yet acknowledged of it. */
export interface Publish {
  left: number
  error: PublishError | undefined
  readonly done: Done
}
export interface Waiting {
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

/** Of one batch. */
const MAX_RECORDS = 10_000
const SEQUENCES = 2 ** 31

export class ProduceQueue {
  /** `topic/partition`. */
  readonly key: string
  /** As Kafka knows it. */
  readonly topic: string
  readonly partition: number
  /** In a request that is under way. */
  busy = false
  #waiting: Array<Waiting> = []
  #sent: Sent | undefined
  #identity: ProducerIdentity | undefined
  #sequence = 0

  constructor(topic: string, partition: number) {
    this.key = `${topic}/${partition}`
    this.topic = topic
    this.partition = partition
  }

  get isEmpty(): boolean {
    return this.#sent === undefined && this.#waiting.length === 0
  }

  /** When the oldest of all came. */
  get since(): number | undefined {
    return (this.#sent?.waiting[0] ?? this.#waiting[0])?.since
  }

  add(waiting: Waiting): void {
    this.#waiting.push(waiting)
  }

  /** The batch to send, made where there is none on its way; the queue must not be empty. */
  async batch(identity: () => Promise<ProducerIdentity>): Promise<Buffer> {
    this.#identity ??= await identity()
    this.#sent ??= this.#take()
    const sent = this.#sent
    sent.bytes ??= encodeBatch(
      sent.waiting.map(({ record }) => record),
      sent.room,
      this.#identity,
      this.#sequence,
      Date.now()
    )
    return sent.bytes
  }

  #take(): Sent {
    let room = 0
    let count = 0
    while (count < this.#waiting.length && count < MAX_RECORDS) {
      const next = (this.#waiting[count] as Waiting).room
      if (count > 0 && room + next > MAX_BATCH_BYTES) break
      room += next
      count++
    }
    const waiting = this.#waiting.slice(0, count)
    this.#waiting = this.#waiting.slice(count)
    return { waiting, room, bytes: undefined }
  }

  /** The batch has been appended. */
  acknowledged(): ReadonlyArray<Waiting> {
    const waiting = this.#sent?.waiting ?? []
    this.#sequence = (this.#sequence + waiting.length) % SEQUENCES
    this.#sent = undefined
    return waiting
  }

  /** The batch goes on under an identity of its partition's own. */
  renumber(identity: ProducerIdentity): void {
    this.#identity = identity
    this.#sequence = 0
    if (this.#sent !== undefined) this.#sent.bytes = undefined
  }

  /** Gives the batch up, and its identity with it. */
  giveUp(): ReadonlyArray<Waiting> {
    const waiting = this.#sent?.waiting ?? []
    this.#sent = undefined
    this.#identity = undefined
    this.#sequence = 0
    return waiting
  }

  get hasBatch(): boolean {
    return this.#sent !== undefined
  }

  /** Takes out what came before `deadline` and is in no batch yet. */
  takeLate(deadline: number): ReadonlyArray<Waiting> {
    const late = this.#waiting.filter(({ since }) => since < deadline)
    this.#waiting = this.#waiting.slice(late.length)
    return late
  }
}

/** Tells each call whose last record this was how it went. */
export const settle = (settled: ReadonlyArray<Waiting>, error: PublishError | undefined): void => {
  for (const { publish } of settled) {
    publish.error ??= error
    if (--publish.left === 0) publish.done(publish.error === undefined ? Exit.void : Exit.fail(publish.error))
  }
}
