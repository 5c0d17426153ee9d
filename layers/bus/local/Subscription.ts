/**
 * One subscription to the embedded log: which partitions it has, what is handled next, and how it ends.
 * @module
 */
import { BusUnavailable, UnknownTopic } from "@argusiq/domain/errors.ts"
import { type Cause, Effect, Exit, Fiber, Latch } from "effect"
import type { Batch, Subscription } from "../Bus.ts"
import type { ConsumerGroup, ConsumerGroups, Member } from "./ConsumerGroups.ts"
import type { Log, Partition } from "./Log.ts"
import { outOfLog, startOffsets } from "./startOffsets.ts"

export interface SubscriberOptions {
  readonly log: Log
  readonly groups: ConsumerGroups
  /** Batches of one subscription handled at the same time. */
  readonly concurrency: number
}

/** A partition this subscription has. */
interface Assigned {
  readonly partition: Partition
  /** Next offset to hand out. */
  position: number
  /** Raised by a seek, so that what was handled before it no longer counts. */
  epoch: number
  /** When its last batch was handed out, in milliseconds of `performance.now`. */
  handedOutAt: number
  handling: boolean
  fiber: Fiber.Fiber<void, unknown> | undefined
  revoked: boolean
  /** Its position is not in the log; it waits for a seek or a new start. */
  stopped: boolean
  /** Handled up to here, and not yet committed because {@link Subscription.beforeCommit} comes first. */
  handled: number | undefined
  /** Appended-at of the record at the offset, the position when it was looked at. */
  head: { readonly offset: number; readonly appendedAt: number } | undefined
}

/** {@link Bus.subscribe} of the embedded log. */
export const subscribe = <E, R>(
  options: SubscriberOptions,
  subscription: Subscription,
  handle: (batch: Batch) => Effect.Effect<void, E, R>
): Effect.Effect<never, E | BusUnavailable | UnknownTopic, R> =>
  Effect.suspend((): Effect.Effect<never, E | BusUnavailable | UnknownTopic, R> => {
    const unknown = subscription.topics.find((topic) => options.log.partitionsOf(topic) === undefined)
    if (unknown !== undefined) return Effect.fail(new UnknownTopic({ topic: unknown }))
    const subscriber = new Subscriber(options, subscription, handle)
    return Effect.acquireUseRelease(
      Effect.sync(() => subscriber.join()),
      () => Effect.raceFirst(subscriber.run(), subscriber.commitEverySecond()),
      () => subscriber.end()
    )
  })

class Subscriber<E, R> implements Member {
  readonly topics: ReadonlySet<string>
  readonly #log: Log
  readonly #group: ConsumerGroup
  readonly #subscription: Subscription
  readonly #handle: (batch: Batch) => Effect.Effect<void, E, R>
  readonly #concurrency: number
  readonly #assigned = new Map<number, Assigned>()
  readonly #latch = Latch.makeUnsafe(false)
  #generation = -1
  #handling = 0
  #failure: Cause.Cause<E> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(
    { log, groups, concurrency }: SubscriberOptions,
    subscription: Subscription,
    handle: (batch: Batch) => Effect.Effect<void, E, R>
  ) {
    this.topics = new Set(subscription.topics)
    this.#log = log
    this.#group = groups.getOrAdd(subscription.group)
    this.#subscription = subscription
    this.#handle = handle
    this.#concurrency = concurrency
  }

  readonly wake = (): void => {
    this.#latch.openUnsafe()
  }

  readonly seek = (slot: number, offset: number): void => {
    const assigned = this.#assigned.get(slot)
    if (assigned === undefined) return
    assigned.position = offset
    assigned.epoch++
    assigned.stopped = false
    assigned.handled = undefined
    this.wake()
  }

  join(): void {
    this.#group.join(this)
  }

  readonly run = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    while (true) {
      this.#latch.closeUnsafe()
      if (this.#failure !== undefined) return yield* Effect.failCause(this.#failure)
      if (this.#generation !== this.#group.generation) yield* this.#rebalance()
      yield* this.#handOut()
      yield* this.#latch.await
    }
  })

  /** Lets running batches end and gives the partitions back. */
  readonly end = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    clearTimeout(this.#timer)
    while (this.#handling > 0) {
      this.#latch.closeUnsafe()
      yield* this.#latch.await
    }
    yield* Effect.interruptible(this.#commitHandled()).pipe(Effect.timeoutOption("2 seconds"), Effect.ignore)
    for (const { partition } of this.#assigned.values()) partition.watchers.delete(this.wake)
    this.#group.leave(this)
  })

  /** Never ends; does nothing where success commits at once. */
  readonly commitEverySecond = (): Effect.Effect<never> =>
    this.#commitHandled().pipe(Effect.ignore({ log: "Debug" }), Effect.delay("1 second"), Effect.forever)

  readonly #commitHandled = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    const { beforeCommit } = this.#subscription
    const handled = Array.from(this.#assigned.values(), (assigned) => ({ ...assigned, assigned })).filter(
      (before) => before.handled !== undefined
    )
    if (beforeCommit === undefined || handled.length === 0) return
    yield* beforeCommit
    for (const { assigned, epoch, handled: offset } of handled) {
      if (assigned.revoked || assigned.epoch !== epoch || offset === undefined) continue
      this.#group.commit(assigned.partition.slot, offset)
      if (assigned.handled === offset) assigned.handled = undefined
    }
  })

  readonly #partitionsOf = (topic: string): ReadonlyArray<Partition> => this.#log.partitionsOf(topic) ?? []

  /** Gives up what belongs to other members and takes what belongs to this one and is free. */
  readonly #rebalance = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    this.#generation = this.#group.generation
    const share = this.#group.share(this, this.#partitionsOf)
    for (const [slot, assigned] of this.#assigned) {
      if (share.has(slot)) continue
      assigned.revoked = true
      if (assigned.fiber !== undefined) yield* Fiber.interrupt(assigned.fiber)
      this.#assigned.delete(slot)
      assigned.partition.watchers.delete(this.wake)
      this.#group.release(slot)
    }
    const gained = [...share].flatMap((slot) => {
      const partition = this.#log.partitionAt(slot)
      return partition !== undefined && !this.#assigned.has(slot) && this.#group.acquire(slot, this) ? [partition] : []
    })
    if (gained.length === 0) return
    const offsets = yield* startOffsets(this.#subscription, this.#group, this.#log.logId, gained)
    for (const partition of gained) {
      const offset = offsets.get(partition.slot)
      this.#assigned.set(partition.slot, {
        partition,
        position: offset ?? 0,
        epoch: 0,
        handedOutAt: -Infinity,
        handling: false,
        fiber: undefined,
        revoked: false,
        stopped: offset === undefined,
        handled: undefined,
        head: undefined
      })
      partition.watchers.add(this.wake)
    }
  })

  /** Starts as many batches as may run, the partition with the oldest record first. */
  readonly #handOut = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    clearTimeout(this.#timer)
    while (this.#handling < this.#concurrency) {
      const ready = yield* this.#oldestReady()
      if (ready === undefined) return
      yield* this.#start(ready)
    }
  })

  /** Sets the timer for a partition that waits for its batch to fill. */
  readonly #oldestReady = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    const { group, maxRecords, maxWaitMillis } = this.#subscription
    const now = performance.now()
    let oldest: Assigned | undefined
    let oldestAt = Infinity
    let wait = Infinity
    for (const assigned of this.#assigned.values()) {
      const { position, partition, handling, stopped, handedOutAt } = assigned
      const { end } = partition.bounds
      if (handling || stopped || position === end) continue
      const refused = outOfLog(group, this.#log.logId, partition, position)
      if (refused !== undefined) {
        assigned.stopped = true
        yield* Effect.logError(`${group} stops reading ${refused.topic} partition ${refused.partition}`, refused)
        continue
      }
      // A partition that delivered a moment ago is likely to have more coming; one that was idle delivers at once.
      const remaining = handedOutAt + maxWaitMillis - now
      if (end - position < maxRecords && remaining > 0) {
        wait = Math.min(wait, remaining)
        continue
      }
      const appendedAt = yield* this.#appendedAtHead(assigned)
      if (appendedAt >= oldestAt) continue
      oldestAt = appendedAt
      oldest = assigned
    }
    if (oldest === undefined && wait < Infinity) this.#timer = setTimeout(this.wake, wait)
    return oldest
  })

  #appendedAtHead(assigned: Assigned): Effect.Effect<number, BusUnavailable> {
    const { head, position, partition } = assigned
    if (head?.offset === position) return Effect.succeed(head.appendedAt)
    return attempt(() => {
      assigned.head = { offset: position, appendedAt: this.#log.appendedAt(partition, position) }
      return assigned.head.appendedAt
    })
  }

  readonly #start = Effect.fnUntraced(function* (this: Subscriber<E, R>, assigned: Assigned) {
    const { maxRecords, maxBytes } = this.#subscription
    const { partition, position, epoch } = assigned
    const { end } = partition.bounds
    const records = yield* attempt(() => this.#log.read(partition, position, end, maxRecords, maxBytes))
    const next = position + records.length
    const batch: Batch = {
      topic: partition.topic.name,
      partition: partition.partition,
      records,
      next: BigInt(next),
      end: BigInt(end)
    }
    assigned.handedOutAt = performance.now()
    assigned.handling = true
    this.#handling++
    const fiber = yield* Effect.suspend(() => this.#handle(batch)).pipe(
      Effect.onExit((exit) => Effect.sync(() => this.#ended(assigned, epoch, next, exit))),
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
      if (this.#subscription.beforeCommit === undefined) this.#group.commit(assigned.partition.slot, next)
      else assigned.handled = next
    }
    this.wake()
  }
}

/** Reading the log throws when its files are damaged. */
const attempt = <A>(read: () => A): Effect.Effect<A, BusUnavailable> =>
  Effect.try({ try: read, catch: (cause) => new BusUnavailable({ cause }) })
