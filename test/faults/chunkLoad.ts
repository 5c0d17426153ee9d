/**
 * What the gateways of the chunker's fault run send, round after round of 20 s, and what has to become of it.
 * @module
 */
import { type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { partitionOf } from "@argusiq/layers/bus/murmur2.ts"
import { uuidV5 } from "@argusiq/domain/uuid.ts"
import { type TestDevice } from "../layers/profiles/registry.ts"
import { beaconsOfAll, chunkRecord, seconds, start } from "../services/chunker/messages.ts"

const ROUND_SECONDS = 20

export interface SentMessage {
  readonly gateway: TestDevice
  readonly correlationId: string
  readonly total: number
  /** Numbers of the chunks that are never sent. */
  readonly without: ReadonlyArray<number>
}

export const beaconsOfMessage = ({ correlationId, total }: SentMessage) => beaconsOfAll(correlationId, total)

/** Ids of gateways of which each has a partition of its own, of so many. */
export const gatewayIds = (count: number, partitions: number, seed: number): ReadonlyArray<string> => {
  const ids = new Map<number, string>()
  for (let index = 0; ids.size < count; index++) {
    const id = uuidV5("6f0c4b58-3a0e-5a53-9a5e-0d6a3ad5c0de", `${seed} ${index}`)
    const partition = partitionOf(partitions, Buffer.from(id))
    if (!ids.has(partition)) ids.set(partition, id)
  }
  return [...ids.values()]
}

/** Some gateways send all their chunks, shuffled and some twice, a part of them a round later; the others leave some out. */
export class ChunkLoad {
  readonly sent: Array<SentMessage> = []
  readonly #gateways: ReadonlyArray<TestDevice>
  readonly #random: () => number
  #late: ReadonlyArray<(receivedAt: number) => BusRecord> = []
  #round = 0

  constructor(gateways: ReadonlyArray<TestDevice>, random: () => number) {
    this.#gateways = gateways
    this.#random = random
  }

  get chunks(): number {
    return this.sent.reduce((sum, { total, without }) => sum + total - without.length, 0)
  }

  /** What is sent in the next round, in order. */
  next(): ReadonlyArray<BusRecord> {
    const receivedAt = start + seconds(this.#round * ROUND_SECONDS)
    const late = this.#late.map((record) => record(receivedAt))
    const lateNext: Array<(receivedAt: number) => BusRecord> = []
    const records = this.#gateways.flatMap((gateway, index) => {
      const name = `${this.#round}-${index}`
      if (index % 2 === 1) return this.#all(this.#message(gateway, `${name}-lost`, true), receivedAt)
      const split = this.#all(this.#message(gateway, `${name}-split`, false), receivedAt)
      const [now, later] = [split.slice(0, split.length >> 1), split.slice(split.length >> 1)]
      for (const record of later) {
        lateNext.push((at) => ({ ...record, headers: { ...record.headers, "received-at": String(at) } }))
      }
      return [...now, ...this.#all(this.#message(gateway, `${name}-whole`, false), receivedAt)]
    })
    this.#late = lateNext
    this.#round += 1
    return this.#shuffled([...late, ...records])
  }

  /** What ends it: what is still to come, and then a record of each gateway so much later that nothing stays open. */
  last(): ReadonlyArray<BusRecord> {
    const receivedAt = start + seconds(this.#round * ROUND_SECONDS)
    const late = this.#late.map((record) => record(receivedAt))
    const after = this.#gateways.map((gateway) => {
      const message = { gateway, correlationId: "the last", total: 1, without: [] }
      this.sent.push(message)
      return chunkRecord({ ...message, seq: 1, receivedAt: receivedAt + seconds(300) })
    })
    return [...late, ...after]
  }

  #message(gateway: TestDevice, correlationId: string, isLost: boolean): SentMessage {
    const total = 2 + Math.floor(this.#random() * 7)
    const without = isLost ? [1 + Math.floor(this.#random() * total)] : []
    const message = { gateway, correlationId, total, without }
    this.sent.push(message)
    return message
  }

  #all({ correlationId, gateway, total, without }: SentMessage, receivedAt: number): ReadonlyArray<BusRecord> {
    const chunks = Array.from({ length: total }, (_, index) => index + 1)
      .filter((seq) => !without.includes(seq))
      .map((seq) => chunkRecord({ gateway, correlationId, seq, total, receivedAt }))
    return this.#shuffled([...chunks, ...chunks.filter(() => this.#random() < 0.2)])
  }

  #shuffled<A>(list: ReadonlyArray<A>): ReadonlyArray<A> {
    return list
      .map((item) => ({ item, order: this.#random() }))
      .toSorted((one, other) => one.order - other.order)
      .map(({ item }) => item)
  }
}
