/**
 * One subscription to the embedded log: which partitions it has, what is handled next, and how it ends.
 * @module
 */
import { BusUnavailable, UnknownTopic } from "@argusiq/domain/errors.ts"
import { Effect } from "effect"
import type { Batch, Subscription } from "../Bus.ts"
import { Handling, OwnedPartition, type Ready } from "../Handling.ts"
import { outOfLog } from "../startAt.ts"
import type { ConsumerGroup, ConsumerGroups, Member } from "./ConsumerGroups.ts"
import type { Log, Partition, Reader } from "./Log.ts"
import { startOffsets } from "./startOffsets.ts"

export interface SubscriberOptions {
  readonly log: Log
  readonly groups: ConsumerGroups
  /** Batches of one subscription handled at the same time. */
  readonly concurrency: number
}

/** A partition this subscription has. */
export class Assigned extends OwnedPartition implements Reader {
  readonly partition: Partition
  readonly wake: () => void
  /** Next offset to hand out. */
  position: number
  /** Appended-at of the record at the offset, the position when it was looked at. */
  #head: { readonly offset: number; readonly appendedAt: number } | undefined

  constructor(partition: Partition, position: number, wake: () => void) {
    super()
    this.partition = partition
    this.position = position
    this.wake = wake
  }

  handledUpTo(next: number): void {
    this.position = next
    this.partition.forgetHandled()
  }

  /** Throws when the log's files are damaged. */
  ready(log: Log): Ready | undefined {
    const { position, partition } = this
    const waiting = partition.bounds.end - position
    return waiting === 0 ? undefined : { waiting, appendedAt: () => this.#appendedAtHead(log) }
  }

  #appendedAtHead(log: Log): number {
    const { position, partition } = this
    if (this.#head?.offset !== position) {
      this.#head = { offset: position, appendedAt: log.appendedAt(partition, position) }
    }
    return this.#head.appendedAt
  }
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
  readonly #assigned = new Map<number, Assigned>()
  /** By slot, of partitions whose start is being asked for. */
  readonly #sought = new Map<number, number>()
  readonly #handling: Handling<Assigned, E, R>
  #generation = -1

  constructor(
    { log, groups, concurrency }: SubscriberOptions,
    subscription: Subscription,
    handle: (batch: Batch) => Effect.Effect<void, E, R>
  ) {
    this.topics = new Set(subscription.topics)
    this.#log = log
    this.#group = groups.getOrAdd(subscription.group)
    this.#subscription = subscription
    this.#handling = new Handling({
      subscription,
      handle,
      concurrency,
      succeeded: (assigned: Assigned, next) => {
        assigned.handledUpTo(next)
        if (subscription.beforeCommit === undefined) this.#group.commit(assigned.partition.slot, next)
        else assigned.handled = next
      }
    })
  }

  readonly wake = (): void => this.#handling.wake()

  readonly seek = (slot: number, offset: number): void => {
    const assigned = this.#assigned.get(slot)
    if (assigned === undefined) return void this.#sought.set(slot, offset)
    assigned.forget()
    assigned.position = offset
    this.wake()
  }

  join(): void {
    this.#group.join(this)
  }

  run(): Effect.Effect<never, E | BusUnavailable, R> {
    return this.#handling.run(Effect.suspend(() => this.#turn()))
  }

  readonly #turn = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    if (this.#generation !== this.#group.generation) yield* this.#rebalance()
    yield* this.#stopMisplaced()
    yield* this.#handOut()
  })

  /** Lets running batches end and gives the partitions back. */
  readonly end = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    yield* this.#handling.finish()
    yield* Effect.interruptible(this.#commitHandled()).pipe(Effect.timeoutOption("2 seconds"), Effect.ignore)
    for (const assigned of this.#assigned.values()) assigned.partition.readers.delete(assigned)
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
      yield* this.#handling.revoke([assigned])
      this.#assigned.delete(slot)
      assigned.partition.readers.delete(assigned)
      this.#group.release(slot)
    }
    const gained = [...share].flatMap((slot) => {
      const partition = this.#log.partitionAt(slot)
      return partition !== undefined && !this.#assigned.has(slot) && this.#group.acquire(slot, this) ? [partition] : []
    })
    if (gained.length === 0) return
    const offsets = yield* startOffsets(this.#subscription, this.#group, this.#log.logId, gained)
    for (const partition of gained) {
      const offset = this.#sought.get(partition.slot) ?? offsets.get(partition.slot)
      this.#sought.delete(partition.slot)
      const assigned = new Assigned(partition, offset ?? 0, this.wake)
      assigned.stopped = offset === undefined
      this.#assigned.set(partition.slot, assigned)
      partition.readers.add(assigned)
    }
  })

  readonly #stopMisplaced = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    const { group } = this.#subscription
    for (const assigned of this.#assigned.values()) {
      const { position, partition, handling, stopped } = assigned
      if (handling || stopped) continue
      const at = { topic: partition.topic.name, partition: partition.partition }
      const refused = outOfLog(group, this.#log.logId, at, partition.bounds, position)
      if (refused === undefined) continue
      assigned.stopped = true
      yield* Effect.logError(`${group} stops reading ${refused.topic} partition ${refused.partition}`, refused)
    }
  })

  /** Starts as many batches as may run. */
  readonly #handOut = Effect.fnUntraced(function* (this: Subscriber<E, R>) {
    const { maxRecords, maxBytes } = this.#subscription
    const log = this.#log
    const take = (assigned: Assigned): Batch => {
      const { partition, position } = assigned
      const { end } = partition.bounds
      const records = log.read(partition, position, end, maxRecords, maxBytes)
      const next = BigInt(position + records.length)
      return { topic: partition.topic.name, partition: partition.partition, records, next, end: BigInt(end) }
    }
    while (true) {
      const next = yield* attempt(() => {
        const ready = this.#handling.next(this.#assigned.values(), (assigned) => assigned.ready(log))
        return ready === undefined ? undefined : { ready, batch: take(ready) }
      })
      if (next === undefined) return
      yield* this.#handling.start(next.ready, next.batch)
    }
  })
}

/** Reading the log throws when its files are damaged. */
const attempt = <A>(read: () => A): Effect.Effect<A, BusUnavailable> =>
  Effect.try({ try: read, catch: (cause) => new BusUnavailable({ cause }) })
