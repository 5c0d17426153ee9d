/**
 * One subscription to Kafka: a member of its group, what it reads, handles and commits, and how it ends.
 * @module
 */
import type { BusUnavailable } from "@argusiq/domain/errors.ts"
import { type Duration, Effect, Fiber } from "effect"
import type { Batch, Subscription } from "../Bus.ts"
import { Handling } from "../Handling.ts"
import type { Assigned } from "./Assigned.ts"
import { Commits } from "./Commits.ts"
import { Connection } from "./Connection.ts"
import type { ClientSettings } from "./kafkajs.ts"
import { type Key, keyOf, Membership, type Offset } from "./Membership.ts"
import { Ownership } from "./Ownership.ts"
import { Reading } from "./Reading.ts"
import { startOffsets, type StartOptions } from "./startOffsets.ts"

export interface SubscriberOptions extends StartOptions {
  readonly settings: ClientSettings
  /** Of each topic. */
  readonly partitions: number
  /** Batches of one subscription handled at the same time. */
  readonly concurrency: number
  readonly sessionMillis: number
  /** How often the watchdog looks whether what the log holds is also read. */
  readonly watchMillis: number
}

/** A subscription that runs, as the bus sees it. */
export interface Running {
  readonly group: string
  /** When the record at the offset was appended, where that is known here. */
  appendedAt(key: Key, offset: number): number | undefined
  /** Whether a partition is its own, or may be when it has joined its group. */
  has(key: Key): boolean
  /** Moves partitions that it has, and commits as a member of the group. */
  seek(to: ReadonlyArray<Offset>): Effect.Effect<void, unknown>
}

const commitPatience = "2 seconds"
const endPatience = "3 seconds"

/** A request that is under way cannot be taken back, but need not be waited for. */
const within = (patience: Duration.Input, effect: Effect.Effect<unknown, unknown>): Effect.Effect<void> =>
  Effect.forkDetach(Effect.ignore(effect)).pipe(
    Effect.flatMap((fiber) => Effect.interruptible(Fiber.await(fiber)).pipe(Effect.timeoutOption(patience))),
    Effect.asVoid
  )

/** {@link Bus.subscribe} of Kafka. */
export const subscribe = <E, R>(
  options: SubscriberOptions,
  running: Set<Running>,
  subscription: Subscription,
  handle: (batch: Batch) => Effect.Effect<void, E, R>
): Effect.Effect<never, E | BusUnavailable, R> =>
  Effect.suspend(() => {
    const subscriber = new Subscriber(options, subscription, handle)
    return Effect.acquireUseRelease(
      Effect.sync(() => running.add(subscriber)),
      () => subscriber.run(),
      () =>
        Effect.andThen(
          subscriber.finish(),
          Effect.sync(() => running.delete(subscriber))
        )
    )
  })

class Subscriber<E, R> implements Running {
  readonly group: string
  readonly #subscription: Subscription
  readonly #connection: Connection
  readonly #membership: Membership
  readonly #ownership: Ownership
  readonly #reading: Reading
  readonly #handling: Handling<Assigned, E, R>
  readonly #commits: Commits
  #member: Fiber.Fiber<never> | undefined

  constructor(
    options: SubscriberOptions,
    subscription: Subscription,
    handle: (batch: Batch) => Effect.Effect<void, E, R>
  ) {
    const { concurrency, nameOf, partitions, reader, sessionMillis, settings, watchMillis } = options
    const { beforeCommit, group, topics } = subscription
    this.group = group
    this.#subscription = subscription
    const kafkaTopics = new Map(topics.map((topic) => [nameOf(topic), topic]))
    const connect = () => new Connection(settings, [...kafkaTopics.keys()])
    this.#connection = connect()
    this.#ownership = new Ownership({
      kafkaTopics,
      start: (places) => startOffsets(options, subscription, places),
      started: (begun) => this.#started(begun),
      interrupt: (gone) => this.#handling.revoke(gone),
      leaving:
        beforeCommit === undefined
          ? within(
              commitPatience,
              Effect.suspend(() => this.#commits.all())
            )
          : Effect.void
    })
    const { assigned } = this.#ownership
    this.#membership = new Membership(this.#connection, {
      groupId: nameOf(group),
      topics: new Map(topics.map((topic) => [nameOf(topic), partitions])),
      together: subscription.together ?? false,
      sessionMillis,
      revoke: this.#ownership.revoke,
      assign: this.#ownership.assign
    })
    this.#commits = new Commits(this.#membership, assigned, beforeCommit)
    this.#handling = new Handling({
      subscription,
      handle,
      concurrency,
      succeeded: (partition: Assigned, next) => {
        partition.handled = next
        this.#commits.wake()
      }
    })
    this.#reading = new Reading({
      group,
      connect,
      reader,
      assigned,
      watchMillis,
      answered: this.#handling.wake,
      startAgain: (partition) => this.#ownership.startAgain(partition)
    })
  }

  readonly run = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    this.#member = yield* Effect.forkDetach(this.#membership.run((error) => this.#tell(error)))
    const handing = this.#handling.run(Effect.suspend(() => this.#handOut()))
    return yield* Effect.raceAllFirst([handing, this.#commits.run(), this.#reading.run()])
  })

  readonly #tell = (error: unknown) =>
    Effect.logDebug(`${this.group} cannot reach its group in Kafka and tries again`, error)

  readonly #started = (begun: ReadonlyArray<Offset>): Effect.Effect<void> =>
    Effect.gen({ self: this }, function* () {
      if (begun.length > 0) {
        yield* this.#membership.commit(begun).pipe(
          Effect.onError(() => Effect.sync(() => this.#commitLater(begun))),
          Effect.ignore
        )
      }
      this.#reading.wake()
      this.#handling.wake()
    })

  /** With what is handled: until the group has an offset nobody knows what it has to read, nor misses what retention removes of it. */
  #commitLater(begun: ReadonlyArray<Offset>): void {
    for (const { topic, partition, offset } of begun) {
      const one = this.#ownership.assigned.get(keyOf(topic, partition))
      if (one !== undefined) one.handled ??= offset
    }
    this.#commits.wake()
  }

  /** Starts as many batches as may run. */
  readonly #handOut = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    while (true) {
      const next = this.#handling.next(this.#ownership.assigned.values(), ({ ready }) => ready)
      const batch = next?.take(this.#subscription)
      if (next === undefined || batch === undefined) break
      yield* this.#handling.start(next, batch)
    }
    this.#reading.wake()
  })

  /** Lets running batches end and gives the partitions back. */
  readonly finish = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    this.#reading.stop()
    yield* this.#ownership.stopStarting
    yield* this.#handling.finish()
    yield* within(commitPatience, this.#commits.all())
    if (this.#member !== undefined) yield* within(endPatience, Fiber.interrupt(this.#member))
    yield* within(endPatience, this.#membership.leave)
    this.#connection.close()
    this.#reading.close()
  })

  readonly seek = (to: ReadonlyArray<Offset>): Effect.Effect<void, unknown> => {
    const seek = Effect.gen({ self: this }, function* () {
      // What is being started has asked for its offsets already.
      yield* this.#ownership.stopStarting
      for (const { topic, partition, offset } of to) {
        this.#ownership.assigned.get(keyOf(topic, partition))?.seek(offset)
      }
      yield* Effect.ensuring(this.#membership.commit(to), this.#ownership.startOwned)
      this.#reading.wake()
      this.#handling.wake()
    })
    return this.#commits.alone(seek)
  }

  has(key: Key): boolean {
    return this.#ownership.has(key) || !this.#membership.isMember
  }

  appendedAt(key: Key, offset: number): number | undefined {
    const head = this.#ownership.assigned.get(key)?.head
    return head !== undefined && Number(head.offset) === offset ? head.appendedAt : undefined
  }
}
