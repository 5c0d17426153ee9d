/**
 * Which partitions a subscription has: taking up what its group gives it, and letting go of what it takes away.
 * @module
 */
import { Effect, Fiber } from "effect"
import type { Assigned, Place } from "./Assigned.ts"
import type { Key } from "./Membership.ts"
import type { Started } from "./startOffsets.ts"

export interface OwnershipOptions {
  /** Topics by their names in Kafka. */
  readonly kafkaTopics: ReadonlyMap<string, string>
  /** Finds out where to start; does not fail. */
  readonly start: (places: ReadonlyArray<Place>) => Effect.Effect<Started>
  /** Some have been started. */
  readonly started: (begun: Started["begun"]) => Effect.Effect<void>
  /** Interrupts what is handled of them. */
  readonly interrupt: (partitions: ReadonlyArray<Assigned>) => Effect.Effect<void>
  /** Some are about to be let go of, and are not handled any more. */
  readonly leaving: Effect.Effect<void>
}

export class Ownership {
  readonly #options: OwnershipOptions
  readonly #assigned = new Map<Key, Assigned>()
  #owned: ReadonlySet<Key> = new Set()
  #starting: Fiber.Fiber<void> | undefined

  constructor(options: OwnershipOptions) {
    this.#options = options
  }

  /** Those that are started. */
  get assigned(): ReadonlyMap<Key, Assigned> {
    return this.#assigned
  }

  /** Started or not. */
  has(key: Key): boolean {
    return this.#owned.has(key)
  }

  /** All that this member has. */
  readonly assign = (owned: ReadonlySet<Key>): Effect.Effect<void> =>
    Effect.suspend(() => {
      this.#owned = owned
      return this.startOwned
    })

  readonly revoke = (lost: ReadonlySet<Key>): Effect.Effect<void> =>
    Effect.gen({ self: this }, function* () {
      this.#owned = new Set([...this.#owned].filter((key) => !lost.has(key)))
      yield* this.stopStarting
      const gone = [...lost].flatMap((key) => this.#assigned.get(key) ?? [])
      yield* this.#options.interrupt(gone)
      yield* this.#options.leaving
      for (const { key } of gone) this.#assigned.delete(key)
    })

  /** Starts what this member has and does not read yet, one call after the other. */
  readonly startOwned: Effect.Effect<void> = Effect.gen({ self: this }, function* () {
    if (this.#starting !== undefined && this.#starting.pollUnsafe() === undefined) return
    this.#starting = yield* Effect.forkDetach(this.#startAll())
  })

  readonly stopStarting: Effect.Effect<void> = Effect.suspend(() =>
    this.#starting === undefined ? Effect.void : Fiber.interrupt(this.#starting)
  )

  /** Gives the partition up and takes it up anew, where it is asked to go on. */
  startAgain(partition: Assigned): void {
    partition.revoked = true
    Effect.runFork(
      Effect.gen({ self: this }, function* () {
        yield* this.#options.interrupt([partition])
        if (this.#assigned.get(partition.key) === partition) this.#assigned.delete(partition.key)
        yield* this.startOwned
      })
    )
  }

  readonly #startAll = Effect.fnUntraced(function* (this: Ownership) {
    while (true) {
      const fresh = [...this.#owned].filter((key) => !this.#assigned.has(key))
      if (fresh.length === 0) return
      const { assigned, begun } = yield* this.#options.start(fresh.map((key) => this.#placeOf(key)))
      for (const one of assigned) if (this.#owned.has(one.key)) this.#assigned.set(one.key, one)
      yield* this.#options.started(begun)
    }
  })

  #placeOf(key: Key): Place {
    const at = key.lastIndexOf("/")
    const kafkaTopic = key.slice(0, at)
    const topic = this.#options.kafkaTopics.get(kafkaTopic) ?? kafkaTopic
    return { key, kafkaTopic, topic, partition: Number(key.slice(at + 1)) }
  }
}
