/**
 * One subscription to Kafka: which partitions it has, what is handled next, and how it ends.
 * @module
 */
import { type BusUnavailable, OffsetOutOfLog } from "@argusiq/domain/errors.ts"
import { type Cause, type Duration, Effect, Exit, Fiber, Latch, Schedule, Semaphore } from "effect"
import type { Batch, Subscription, TopicPartition } from "../Bus.ts"
import { Assigned } from "./Assigned.ts"
import { Connection } from "./Connection.ts"
import { Fetcher } from "./Fetcher.ts"
import type { ClientSettings } from "./kafkajs.ts"
import { EARLIEST, LATEST, type LogReader } from "./LogReader.ts"
import { type Key, keyOf, Membership, type Offset } from "./Membership.ts"

export interface SubscriberOptions {
  readonly settings: ClientSettings
  readonly reader: LogReader
  readonly logId: string
  /** Partitions by topic. */
  readonly partitions: ReadonlyMap<string, number>
  readonly nameOf: (name: string) => string
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

const askAgain = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("5 seconds")])
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

/** Of a partition, in the epoch in which it was handled. */
interface Handled {
  readonly assigned: Assigned
  readonly epoch: number
  readonly offset: number
}

class Subscriber<E, R> implements Running {
  readonly group: string
  readonly #options: SubscriberOptions
  readonly #subscription: Subscription
  readonly #handle: (batch: Batch) => Effect.Effect<void, E, R>
  readonly #kafkaTopics: ReadonlyMap<string, string>
  readonly #membership: Membership
  readonly #groupConnection: Connection
  #fetchConnection: Connection
  #fetcher: Fetcher<Assigned>
  readonly #assigned = new Map<Key, Assigned>()
  readonly #latch = Latch.makeUnsafe(false)
  readonly #commits = Semaphore.makeUnsafe(1)
  readonly #dirty = Latch.makeUnsafe(false)
  /** Those that this member belongs to, started or not. */
  #owned: ReadonlySet<Key> = new Set()
  #starting: Fiber.Fiber<void> | undefined
  #member: Fiber.Fiber<never> | undefined
  #handling = 0
  #failure: Cause.Cause<E> | undefined
  #trouble: string | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(
    options: SubscriberOptions,
    subscription: Subscription,
    handle: (batch: Batch) => Effect.Effect<void, E, R>
  ) {
    this.group = subscription.group
    this.#options = options
    this.#subscription = subscription
    this.#handle = handle
    this.#kafkaTopics = new Map(subscription.topics.map((topic) => [options.nameOf(topic), topic]))
    this.#groupConnection = this.#connect()
    this.#fetchConnection = this.#connect()
    this.#fetcher = this.#makeFetcher()
    this.#membership = new Membership(this.#groupConnection, {
      groupId: options.nameOf(subscription.group),
      topics: new Map(subscription.topics.map((topic) => [options.nameOf(topic), options.partitions.get(topic) ?? 0])),
      sessionMillis: options.sessionMillis,
      revoke: (lost) => this.#revoke(lost),
      assign: (owned) => this.#assign(owned)
    })
  }

  #connect(): Connection {
    return new Connection(this.#options.settings, [...this.#kafkaTopics.keys()])
  }

  #makeFetcher(): Fetcher<Assigned> {
    return new Fetcher(this.#fetchConnection, {
      partitions: () => this.#assigned.values(),
      fetched: (partition, decoded, end) => {
        this.#trouble = undefined
        partition.add(decoded, end)
      },
      answered: () => this.#latch.openUnsafe(),
      misplaced: (partition) => this.#startAgain(partition),
      moved: ({ kafkaTopic }) => this.#doubt((assigned) => assigned.kafkaTopic === kafkaTopic),
      failed: (error) => {
        this.#trouble = error instanceof Error ? error.message : String(error)
        this.#doubt(() => true)
      }
    })
  }

  readonly run = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    this.#member = yield* Effect.forkDetach(this.#membership.run((error) => this.#tell(error)))
    return yield* Effect.raceAllFirst([
      this.#handOutForever(),
      this.#commitForever(),
      this.#watchForever(),
      this.#clearUpForever()
    ])
  })

  readonly #tell = (error: unknown) =>
    Effect.logDebug(`${this.group} cannot reach its group in Kafka and tries again`, error)

  readonly #handOutForever = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    while (true) {
      this.#latch.closeUnsafe()
      if (this.#failure !== undefined) return yield* Effect.failCause(this.#failure)
      yield* this.#handOut()
      yield* this.#latch.await
    }
  })

  /** Lets running batches end and gives the partitions back. */
  readonly finish = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    clearTimeout(this.#timer)
    this.#fetcher.stop()
    if (this.#starting !== undefined) yield* Fiber.interrupt(this.#starting)
    while (this.#handling > 0) {
      this.#latch.closeUnsafe()
      yield* this.#latch.await
    }
    const { beforeCommit } = this.#subscription
    yield* within(commitPatience, beforeCommit === undefined ? this.#commit() : this.#commitAfter(beforeCommit))
    if (this.#member !== undefined) yield* within(endPatience, Fiber.interrupt(this.#member))
    yield* within(endPatience, this.#membership.leave)
    this.#groupConnection.close()
    this.#fetchConnection.close()
  })

  // What belongs to this member

  readonly #assign = (owned: ReadonlySet<Key>): Effect.Effect<void> =>
    Effect.gen({ self: this }, function* () {
      this.#owned = owned
      yield* this.#startOwned
    })

  readonly #revoke = (lost: ReadonlySet<Key>): Effect.Effect<void> =>
    Effect.gen({ self: this }, function* () {
      this.#owned = new Set([...this.#owned].filter((key) => !lost.has(key)))
      if (this.#starting !== undefined) yield* Fiber.interrupt(this.#starting)
      const gone = [...lost].flatMap((key) => this.#assigned.get(key) ?? [])
      for (const assigned of gone) assigned.revoked = true
      yield* Effect.forEach(gone, ({ fiber }) => (fiber === undefined ? Effect.void : Fiber.interrupt(fiber)), {
        concurrency: "unbounded",
        discard: true
      })
      if (this.#subscription.beforeCommit === undefined) {
        yield* within(commitPatience, this.#commit())
      }
      for (const { key } of gone) this.#assigned.delete(key)
    })

  /** Starts what this member has and does not read yet, one call after the other. */
  readonly #startOwned: Effect.Effect<void> = Effect.gen({ self: this }, function* () {
    if (this.#starting !== undefined && this.#starting.pollUnsafe() === undefined) return
    this.#starting = yield* Effect.forkDetach(
      Effect.gen({ self: this }, function* () {
        while (true) {
          const fresh = [...this.#owned].filter((key) => !this.#assigned.has(key))
          if (fresh.length === 0) return
          yield* this.#start(fresh)
        }
      })
    )
  })

  /** Its subscriber is asked again where it goes on: what was read does not fit the log any more. */
  #startAgain(partition: Assigned): void {
    partition.moved = true
    partition.revoked = true
    Effect.runFork(
      Effect.gen({ self: this }, function* () {
        if (partition.fiber !== undefined) yield* Fiber.interrupt(partition.fiber)
        if (this.#assigned.get(partition.key) === partition) this.#assigned.delete(partition.key)
        yield* this.#startOwned
      })
    )
  }

  #placeOf(key: Key) {
    const at = key.lastIndexOf("/")
    const kafkaTopic = key.slice(0, at)
    return {
      key,
      kafkaTopic,
      topic: this.#kafkaTopics.get(kafkaTopic) ?? kafkaTopic,
      partition: Number(key.slice(at + 1))
    }
  }

  readonly #start = Effect.fnUntraced(function* (this: Subscriber<E, R>, keys: ReadonlyArray<Key>) {
    const places = keys.map((key) => this.#placeOf(key))
    const { reader } = this.#options
    const { startAt } = this.#subscription
    const at = places.map(({ kafkaTopic, partition }) => ({ topic: kafkaTopic, partition }))
    const log = yield* this.#persist("learn what Kafka has", async () => {
      const topics = [...new Set(places.map(({ kafkaTopic }) => kafkaTopic))]
      const ids = await reader.topicIds(topics)
      const counts = new Map(
        topics.map((topic) => [topic, this.#options.partitions.get(this.#kafkaTopics.get(topic)!) ?? 0])
      )
      const committed = await reader.committed(this.#options.nameOf(this.group), counts)
      return {
        ids,
        committed: new Map(committed.map(({ topic, partition, offset }) => [keyOf(topic, partition), offset])),
        starts: await reader.offsets(at, EARLIEST),
        ends: await reader.offsets(at, LATEST)
      }
    })
    const answers =
      startAt === undefined
        ? []
        : yield* startAt(places.map(({ topic, partition }) => ({ topic, partition }))).pipe(
            Effect.tapError((error) =>
              Effect.logWarning(`${this.group} cannot ask where to start and tries again`, error)
            ),
            Effect.retry(askAgain),
            Effect.orDie // the schedule has no end
          )
    const begun: Array<Offset> = []
    for (const place of places) {
      const { key, topic, partition, kafkaTopic } = place
      const answer = answers.find((other) => other.topic === topic && other.partition === partition)
      const committed = log.committed.get(key)
      const bounds = { start: log.starts.get(key) ?? 0, end: log.ends.get(key) ?? 0 }
      const offset = Number(answer?.offset ?? committed ?? bounds.start)
      // The log may have grown since it was measured; what was removed since is noticed when it is read.
      const refused = answer instanceof OffsetOutOfLog ? answer : yield* this.#outOfLog(place, offset, bounds)
      const assigned = new Assigned(place, log.ids.get(kafkaTopic), offset, this.#subscription.maxRecords)
      assigned.end = Math.max(bounds.end, offset)
      if (refused === undefined) {
        if (offset !== committed) begun.push({ topic: kafkaTopic, partition, offset })
      } else {
        assigned.stopped = true
        if (committed === undefined) begun.push({ topic: kafkaTopic, partition, offset: bounds.start })
        yield* Effect.logError(`${this.group} does not read ${topic} partition ${partition}`, refused)
      }
      if (this.#owned.has(key)) this.#assigned.set(key, assigned)
    }
    // Who asks for the group's lag is told of all that it has to read.
    if (begun.length > 0) yield* Effect.ignore(this.#membership.commit(begun))
    this.#fetcher.wake()
    this.#latch.openUnsafe()
  })

  /** Measured again where it seems to lie beyond the end: others write meanwhile. */
  readonly #outOfLog = Effect.fnUntraced(function* (
    this: Subscriber<E, R>,
    place: { readonly key: Key; readonly kafkaTopic: string; readonly topic: string; readonly partition: number },
    offset: number,
    { start, end: measured }: { readonly start: number; readonly end: number }
  ) {
    let end = measured
    if (offset > end) {
      const at = [{ topic: place.kafkaTopic, partition: place.partition }]
      const ends = yield* this.#persist("measure the log", () => this.#options.reader.offsets(at, LATEST))
      end = ends.get(place.key) ?? end
    }
    if (offset >= start && offset <= end) return undefined
    const { logId } = this.#options
    return new OffsetOutOfLog({
      group: this.group,
      topic: place.topic,
      partition: place.partition,
      offset: String(offset),
      start: String(start),
      end: String(end),
      logId,
      storedLogId: logId
    })
  })

  #persist<A>(what: string, request: () => Promise<A>): Effect.Effect<A> {
    return Effect.tryPromise({ try: request, catch: (error) => error }).pipe(
      Effect.tapError((error) => Effect.logDebug(`${this.group} cannot ${what} and tries again`, error)),
      Effect.retry(askAgain),
      Effect.orDie // the schedule has no end
    )
  }

  // Handing out

  /** Starts as many batches as may run, the partition with the oldest record first. */
  readonly #handOut = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    clearTimeout(this.#timer)
    while (this.#handling < this.#options.concurrency) {
      const ready = this.#oldestReady()
      const batch = ready?.take(this.#subscription)
      if (ready === undefined || batch === undefined) break
      yield* this.#handleBatch(ready, batch)
    }
    this.#fetcher.wake()
  })

  /** Sets the timer for a partition that waits for its batch to fill. */
  #oldestReady(): Assigned | undefined {
    const { maxRecords, maxWaitMillis } = this.#subscription
    const now = performance.now()
    let oldest: Assigned | undefined
    let oldestAt = Infinity
    let wait = Infinity
    for (const assigned of this.#assigned.values()) {
      const { head, handling, stopped, revoked, waiting, handedOutAt } = assigned
      if (head === undefined || handling || stopped || revoked) continue
      // A partition that delivered a moment ago is likely to have more coming; one that was idle delivers at once.
      const remaining = handedOutAt + maxWaitMillis - now
      if (waiting < maxRecords && remaining > 0) {
        wait = Math.min(wait, remaining)
        continue
      }
      if (head.appendedAt >= oldestAt) continue
      oldestAt = head.appendedAt
      oldest = assigned
    }
    if (oldest === undefined && wait < Infinity) this.#timer = setTimeout(() => this.#latch.openUnsafe(), wait)
    return oldest
  }

  readonly #handleBatch = Effect.fnUntraced(function* (this: Subscriber<E, R>, assigned: Assigned, batch: Batch) {
    const { epoch } = assigned
    assigned.handedOutAt = performance.now()
    assigned.handling = true
    this.#handling++
    const fiber = yield* Effect.suspend(() => this.#handle(batch)).pipe(
      Effect.onExit((exit) => Effect.sync(() => this.#ended(assigned, epoch, Number(batch.next), exit))),
      Effect.forkDetach
    )
    if (assigned.handling) assigned.fiber = fiber
  })

  #ended(assigned: Assigned, epoch: number, next: number, exit: Exit.Exit<void, E>): void {
    assigned.handling = false
    assigned.fiber = undefined
    this.#handling--
    if (Exit.isFailure(exit)) {
      if (!assigned.revoked) this.#failure ??= exit.cause
    } else if (assigned.epoch === epoch) {
      assigned.position = next
      assigned.handled = next
      this.#dirty.openUnsafe()
    }
    this.#latch.openUnsafe()
  }

  // Committing

  /** With `beforeCommit` once a second, else as soon as something is handled. */
  readonly #commitForever = (): Effect.Effect<never> => {
    const { beforeCommit } = this.#subscription
    return beforeCommit === undefined
      ? this.#commitWhenHandled()
      : this.#commitAfter(beforeCommit).pipe(Effect.ignore({ log: "Debug" }), Effect.delay("1 second"), Effect.forever)
  }

  readonly #commitWhenHandled = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    while (true) {
      yield* this.#dirty.await
      this.#dirty.closeUnsafe()
      const exit = yield* Effect.exit(this.#commit())
      if (Exit.isSuccess(exit)) continue
      // Kept, and tried again: in the group's next generation where it was refused in this one.
      yield* Effect.sleep("250 millis")
      this.#dirty.openUnsafe()
    }
  })

  readonly #commitAfter = Effect.fnUntraced(function* (
    this: Subscriber<E, R>,
    beforeCommit: NonNullable<Subscription["beforeCommit"]>
  ) {
    const handled = this.#handled()
    if (handled.length === 0) return
    yield* beforeCommit
    yield* this.#commit(handled)
  })

  #handled(): ReadonlyArray<Handled> {
    return [...this.#assigned.values()].flatMap((assigned) =>
      assigned.handled === undefined ? [] : [{ assigned, epoch: assigned.epoch, offset: assigned.handled }]
    )
  }

  /** What was handled, unless a seek came in between. */
  #commit(collected?: ReadonlyArray<Handled>): Effect.Effect<void, unknown> {
    return this.#commits.withPermit(
      Effect.suspend(() => {
        const handled = (collected ?? this.#handled()).filter(
          ({ assigned, epoch }) => assigned.epoch === epoch && assigned.handled !== undefined
        )
        if (handled.length === 0) return Effect.void
        const offsets = handled.map(({ assigned: { kafkaTopic, partition }, offset }) => ({
          topic: kafkaTopic,
          partition,
          offset
        }))
        return Effect.map(this.#membership.commit(offsets), () => {
          for (const { assigned, epoch, offset } of handled) {
            if (assigned.epoch === epoch && assigned.handled === offset) assigned.handled = undefined
          }
        })
      })
    )
  }

  readonly seek = (to: ReadonlyArray<Offset>): Effect.Effect<void, unknown> => {
    const seek = Effect.gen({ self: this }, function* () {
      // What is being started has asked for its offsets already.
      if (this.#starting !== undefined) yield* Fiber.interrupt(this.#starting)
      for (const { topic, partition, offset } of to) this.#assigned.get(keyOf(topic, partition))?.seek(offset)
      yield* Effect.ensuring(this.#membership.commit(to), this.#startOwned)
      this.#fetcher.wake()
      this.#latch.openUnsafe()
    })
    return this.#commits.withPermit(seek)
  }

  has(key: Key): boolean {
    return this.#owned.has(key) || !this.#membership.isMember
  }

  appendedAt(key: Key, offset: number): number | undefined {
    const assigned = this.#assigned.get(key)
    const { head } = assigned ?? {}
    return head !== undefined && Number(head.offset) === offset ? head.appendedAt : undefined
  }

  // What goes wrong

  /** A topic that is removed and made again answers with errors for a moment, some partitions of it perhaps not at all. */
  #doubt(concerns: (assigned: Assigned) => boolean): void {
    for (const assigned of this.#assigned.values()) if (concerns(assigned)) assigned.moved = true
  }

  /** Looks after partitions whose topic may have been removed, and perhaps made again. */
  readonly #clearUpForever = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    while (true) {
      yield* Effect.sleep("200 millis")
      const moved = [...this.#assigned.values()].filter((assigned) => assigned.moved && !assigned.revoked)
      if (moved.length === 0) continue
      const topics = [...new Set(moved.map(({ kafkaTopic }) => kafkaTopic))]
      const asked = yield* Effect.result(
        Effect.tryPromise({ try: () => this.#options.reader.topicIds(topics), catch: (error) => error })
      )
      if (asked._tag === "Failure") continue
      const ids = asked.success
      for (const assigned of moved) {
        const id = ids.get(assigned.kafkaTopic)
        if (id === assigned.topicId) {
          assigned.moved = false
          this.#fetcher.wake()
        } else if (id !== undefined) {
          yield* Effect.logWarning(
            `${this.group}: the topic ${assigned.kafkaTopic} was removed and made again; it asks where to go on`
          )
          this.#startAgain(assigned)
        }
      }
    }
  })

  /**
   * A client can stop to read without an error (kafkajs #659). What counts is whether the log holds more than was read, twice
   * in a row, where there is room for it; then all that reads is made anew.
   */
  readonly #watchForever = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    while (true) {
      yield* Effect.sleep(this.#options.watchMillis)
      const idle = [...this.#assigned.values()].filter(({ wants, from, seenFrom }) => wants && from === seenFrom)
      for (const assigned of this.#assigned.values()) assigned.seenFrom = assigned.from
      if (idle.length === 0) continue
      const at: ReadonlyArray<TopicPartition> = idle.map(({ kafkaTopic, partition }) => ({
        topic: kafkaTopic,
        partition
      }))
      const ends = yield* Effect.result(
        Effect.tryPromise({ try: () => this.#options.reader.offsets(at, LATEST), catch: (error) => error })
      )
      if (ends._tag === "Failure") continue
      const stalled = idle.filter(
        ({ key, from, seenFrom, wants }) => wants && from === seenFrom && (ends.success.get(key) ?? 0) > from
      )
      if (stalled.length === 0) continue
      yield* Effect.logWarning(
        `${this.group} read nothing of ${stalled.length} partition(s) for ${this.#options.watchMillis} ms although they hold ` +
          `more${this.#trouble === undefined ? "" : ` (${this.#trouble})`}; its connections are made anew`
      )
      this.#fetcher.stop()
      this.#fetchConnection.close()
      this.#fetchConnection = this.#connect()
      this.#fetcher = this.#makeFetcher()
      this.#fetcher.wake()
    }
  })
}
