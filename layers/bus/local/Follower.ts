/**
 * One follower of the embedded log: all partitions of its topics, from their ends on.
 * @module
 */
import { BusUnavailable, UnknownTopic } from "@argusiq/domain/errors.ts"
import { Clock, Effect } from "effect"
import type { Batch, Following } from "../Bus.ts"
import { Handling } from "../Handling.ts"
import type { Log } from "./Log.ts"
import { Assigned } from "./Subscription.ts"

export interface FollowerOptions {
  readonly log: Log
  /** Batches of one follower handled at the same time. */
  readonly concurrency: number
}

/** {@link Bus.follow} of the embedded log. */
export const follow = <E, R>(
  { concurrency, log }: FollowerOptions,
  following: Following,
  handle: (batch: Batch) => Effect.Effect<void, E, R>
): Effect.Effect<never, E | BusUnavailable | UnknownTopic, R> =>
  Effect.gen(function* () {
    const unknown = following.topics.find((topic) => log.partitionsOf(topic) === undefined)
    if (unknown !== undefined) return yield* new UnknownTopic({ topic: unknown })
    const clock = yield* Clock.Clock
    const { maxBytes, maxRecords, skipAfterMillis = Infinity, skipped } = following
    const handling = new Handling<Assigned, E, R>({
      subscription: following,
      handle,
      concurrency,
      succeeded: (assigned, next) => {
        assigned.handledUpTo(next)
      }
    })
    const followed = following.topics
      .flatMap((topic) => log.partitionsOf(topic) ?? [])
      .map((partition) => new Assigned(partition, partition.bounds.end, handling.wake))

    const skipTo = (assigned: Assigned, position: number) => {
      const { partition, topic } = assigned.partition
      assigned.position = position
      skipped({ topic: topic.name, partition })
    }
    const skipStale = () => {
      const oldest = (clock.currentTimeMillisUnsafe() - skipAfterMillis) * 1_000
      for (const assigned of followed) {
        if (assigned.handling) continue
        const { end, start } = assigned.partition.bounds
        // The log began anew under it, or retention has removed what came next.
        if (assigned.position > end || assigned.position < start) skipTo(assigned, end)
        else if (skipAfterMillis !== Infinity && (assigned.ready(log)?.appendedAt() ?? Infinity) < oldest)
          skipTo(assigned, end)
      }
    }
    const take = (assigned: Assigned): Batch => {
      const { partition, position } = assigned
      const { end } = partition.bounds
      const records = log.read(partition, position, end, maxRecords, maxBytes)
      const next = BigInt(position + records.length)
      return { topic: partition.topic.name, partition: partition.partition, records, next, end: BigInt(end) }
    }
    const turn = Effect.gen(function* () {
      yield* attempt(skipStale)
      while (true) {
        const next = yield* attempt(() => {
          const ready = handling.next(followed, (assigned) => assigned.ready(log))
          return ready === undefined ? undefined : { ready, batch: take(ready) }
        })
        if (next === undefined) return
        yield* handling.start(next.ready, next.batch)
      }
    })
    return yield* Effect.acquireUseRelease(
      Effect.sync(() => {
        for (const assigned of followed) assigned.partition.readers.add(assigned)
      }),
      () => Effect.andThen(following.started ?? Effect.void, handling.run(turn)),
      () =>
        Effect.suspend(() => {
          for (const assigned of followed) assigned.partition.readers.delete(assigned)
          return handling.finish()
        })
    )
  })

/** Reading the log throws when its files are damaged. */
const attempt = <A>(read: () => A): Effect.Effect<A, BusUnavailable> =>
  Effect.try({ try: read, catch: (cause) => new BusUnavailable({ cause }) })
