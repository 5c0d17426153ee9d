/**
 * The reading of one subscription's partitions, and what can go wrong with it: a topic that was removed and made again, a
 * client that stops to read.
 * @module
 */
import { Effect } from "effect"
import type { TopicPartition } from "../Bus.ts"
import type { Assigned } from "./Assigned.ts"
import type { Connection } from "./Connection.ts"
import { Fetcher } from "./Fetcher.ts"
import { LATEST, type LogReader } from "./LogReader.ts"
import type { Key } from "./Membership.ts"

export interface ReadingOptions {
  readonly group: string
  readonly connect: () => Connection
  readonly reader: LogReader
  readonly assigned: ReadonlyMap<Key, Assigned>
  /** How often the watchdog looks whether what the log holds is also read. */
  readonly watchMillis: number
  /** Something may have come. */
  readonly answered: () => void
  /** What was read of it does not fit the log any more: it is to be asked again where it goes on. */
  readonly startAgain: (partition: Assigned) => void
}

export class Reading {
  readonly #options: ReadingOptions
  #connection: Connection
  #fetcher: Fetcher<Assigned>
  #trouble: string | undefined

  constructor(options: ReadingOptions) {
    this.#options = options
    this.#connection = options.connect()
    this.#fetcher = this.#makeFetcher()
  }

  #makeFetcher(): Fetcher<Assigned> {
    const { assigned, answered, startAgain } = this.#options
    return new Fetcher(this.#connection, {
      partitions: () => assigned.values(),
      fetched: (partition, decoded, end) => {
        this.#trouble = undefined
        partition.add(decoded, end)
      },
      answered,
      misplaced: startAgain,
      moved: ({ kafkaTopic }) => this.#doubt((one) => one.kafkaTopic === kafkaTopic),
      failed: (error) => {
        this.#trouble = error instanceof Error ? error.message : String(error)
        this.#doubt(() => true)
      }
    })
  }

  /** To be called when a partition may have room, or is to be read from elsewhere. */
  wake(): void {
    this.#fetcher.wake()
  }

  /** Nothing is reported from here on. */
  stop(): void {
    this.#fetcher.stop()
  }

  close(): void {
    this.stop()
    this.#connection.close()
  }

  /** Never ends. */
  run(): Effect.Effect<never> {
    return Effect.raceFirst(this.#watchForever(), this.#clearUpForever())
  }

  /** A topic that is removed and made again answers with errors for a moment, some partitions of it perhaps not at all. */
  #doubt(concerns: (assigned: Assigned) => boolean): void {
    for (const assigned of this.#options.assigned.values()) if (concerns(assigned)) assigned.moved = true
  }

  /** Looks after partitions whose topic may have been removed, and perhaps made again. */
  readonly #clearUpForever = Effect.fnUntraced(function* (this: Reading) {
    const { assigned, group, reader, startAgain } = this.#options
    while (true) {
      yield* Effect.sleep("200 millis")
      const moved = [...assigned.values()].filter((one) => one.moved && !one.revoked)
      if (moved.length === 0) continue
      const ids = yield* asked(() => reader.topicIds([...new Set(moved.map(({ kafkaTopic }) => kafkaTopic))]))
      if (ids === undefined) continue
      for (const one of moved) {
        const id = ids.get(one.kafkaTopic)
        if (id === one.topicId) {
          one.moved = false
          this.#fetcher.wake()
        } else if (id !== undefined) {
          yield* Effect.logWarning(
            `${group}: the topic ${one.kafkaTopic} was removed and made again; it asks where to go on`
          )
          startAgain(one)
        }
      }
    }
  })

  /**
   * A client can stop to read without an error (kafkajs #659). What counts is whether the log holds more than was read, twice
   * in a row, where there is room for it; then all that reads is made anew.
   */
  readonly #watchForever = Effect.fnUntraced(function* (this: Reading) {
    const { assigned, connect, group, reader, watchMillis } = this.#options
    while (true) {
      yield* Effect.sleep(watchMillis)
      const idle = [...assigned.values()].filter(({ wants, from, seenFrom }) => wants && from === seenFrom)
      for (const one of assigned.values()) one.seenFrom = one.from
      if (idle.length === 0) continue
      const at = idle.map(({ kafkaTopic, partition }): TopicPartition => ({ topic: kafkaTopic, partition }))
      const ends = yield* asked(() => reader.offsets(at, LATEST))
      if (ends === undefined) continue
      const stalled = idle.filter(
        ({ key, from, seenFrom, wants }) => wants && from === seenFrom && (ends.get(key) ?? 0) > from
      )
      if (stalled.length === 0) continue
      yield* Effect.logWarning(
        `${group} read nothing of ${stalled.length} partition(s) for ${watchMillis} ms although they hold more` +
          `${this.#trouble === undefined ? "" : ` (${this.#trouble})`}; its connections are made anew`
      )
      this.close()
      this.#connection = connect()
      this.#fetcher = this.#makeFetcher()
      this.#fetcher.wake()
    }
  })
}

/** Undefined when there was no answer. */
const asked = <A>(request: () => Promise<A>): Effect.Effect<A | undefined> =>
  Effect.tryPromise({ try: request, catch: (error) => error }).pipe(Effect.orElseSucceed(() => undefined))
