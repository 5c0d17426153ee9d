/**
 * How much of a topic's retention the slowest group still needs. Kafka removes what is past retention whether it was read or
 * not; so before it comes to that nothing more is accepted, and what sends is told to wait.
 * @module
 */
import type { Topic } from "@argusiq/domain/topics.ts"
import { Effect } from "effect"
import { EARLIEST, LATEST, type LogReader } from "./LogReader.ts"
import { keyOf } from "./Membership.ts"
import { retentionBytesOf } from "./topics.ts"

/** Of a topic's retention, by age or by bytes. */
export const MAX_SHARE = 0.8

export interface BacklogOptions {
  readonly topics: ReadonlyMap<string, Topic>
  /** Of each topic. */
  readonly partitions: number
  readonly nameOf: (name: string) => string
  readonly prefix: string
  readonly forgetGroups: ReadonlyArray<string>
}

export class Backlog {
  readonly #reader: LogReader
  readonly #options: BacklogOptions
  #refusals: ReadonlyMap<string, string> = new Map()

  constructor(reader: LogReader, options: BacklogOptions) {
    this.#reader = reader
    this.#options = options
  }

  /** Why nothing may be appended to a topic at the moment, in words. */
  refusal(topic: string): string | undefined {
    return this.#refusals.size === 0 ? undefined : this.#refusals.get(topic)
  }

  /** Never ends. What could not be measured stays as it was. */
  measureEvery(millis: number): Effect.Effect<never> {
    const measured = Effect.tryPromise({ try: () => this.measure(), catch: (error) => error })
    return measured.pipe(Effect.ignore({ log: "Debug" }), Effect.delay(millis), Effect.forever)
  }

  async measure(): Promise<void> {
    const { topics, partitions, nameOf, prefix, forgetGroups } = this.#options
    const counts = new Map(Array.from(topics.keys(), (name) => [nameOf(name), partitions]))
    const all = [...counts].flatMap(([topic, count]) =>
      Array.from({ length: count }, (_, partition) => ({ topic, partition }))
    )
    const starts = await this.#reader.offsets(all, EARLIEST)
    const ends = await this.#reader.offsets(all, LATEST)
    const sizes = await this.#reader.sizes(counts)
    const refusals = new Map<string, string>()
    for (const groupId of await this.#reader.groups()) {
      const group = groupId.slice(prefix.length)
      if (!groupId.startsWith(prefix) || forgetGroups.includes(group)) continue
      for (const { topic: kafkaTopic, partition, offset } of await this.#reader.committed(groupId)) {
        const name = kafkaTopic.slice(prefix.length)
        const topic = topics.get(name)
        const key = keyOf(kafkaTopic, partition)
        const [start = 0, end = 0, size = 0] = [starts.get(key), ends.get(key), sizes.get(key)]
        if (topic === undefined || offset >= end || refusals.has(name)) continue
        const retained = retentionBytesOf(topic, partitions)
        const byBytes = (size * (end - Math.max(offset, start))) / Math.max(1, end - start) / retained
        const byAge = byBytes > MAX_SHARE ? 0 : await this.#ageShare(topic, { topic: kafkaTopic, partition }, offset)
        const share = Math.max(byBytes, byAge)
        if (share <= MAX_SHARE) continue
        refusals.set(
          name,
          `${group} is ${end - offset} records behind on ${name}/${partition}, ${Math.round(share * 100)} % of what the topic ` +
            `retains; from ${MAX_SHARE * 100} % on nothing is accepted, since Kafka would remove what is not read yet. Start what ` +
            "reads it, or forget the group with ARGUSIQ_BUS_FORGET_GROUPS."
        )
      }
    }
    this.#refusals = refusals
  }

  async #ageShare(
    { retentionMillis }: Topic,
    at: { readonly topic: string; readonly partition: number },
    offset: number
  ) {
    const appendedAt = await this.#reader.appendedAt(at, offset)
    return appendedAt === undefined ? 0 : (Date.now() - appendedAt / 1_000) / retentionMillis
  }
}
