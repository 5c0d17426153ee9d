/**
 * One follower of Kafka: all partitions of its topics, from their ends on, without a group and its coordinator.
 * @module
 */
import type { BusUnavailable } from "@argusiq/domain/errors.ts"
import { Clock, Effect } from "effect"
import type { Batch, Following } from "../Bus.ts"
import { Handling } from "../Handling.ts"
import { askAgain } from "../startAt.ts"
import { Assigned, type Place } from "./Assigned.ts"
import { Connection } from "./Connection.ts"
import { LATEST } from "./LogReader.ts"
import { type Key, keyOf } from "./Membership.ts"
import { Reading } from "./Reading.ts"
import type { SubscriberOptions } from "./Subscription.ts"

/** {@link Bus.follow} of Kafka. */
export const follow = <E, R>(
  options: SubscriberOptions,
  following: Following,
  handle: (batch: Batch) => Effect.Effect<void, E, R>
): Effect.Effect<never, E | BusUnavailable, R> =>
  Effect.gen(function* () {
    const { concurrency, nameOf, partitions, reader, settings, watchMillis } = options
    const { maxRecords, name, skipAfterMillis = Infinity, skipped, topics } = following
    const clock = yield* Clock.Clock
    const places = topics.flatMap((topic) =>
      Array.from({ length: partitions }, (_, partition): Place => {
        const kafkaTopic = nameOf(topic)
        return { key: keyOf(kafkaTopic, partition), kafkaTopic, topic, partition }
      })
    )
    const assigned = new Map<Key, Assigned>()
    const handling = new Handling<Assigned, E, R>({ subscription: following, handle, concurrency, succeeded: () => {} })
    const subscription = { ...following, group: name }

    /** Asks until it is told where their ends are. */
    const begin = (begun: ReadonlyArray<Place>) =>
      Effect.tryPromise({
        try: async () => {
          const at = begun.map(({ kafkaTopic, partition }) => ({ topic: kafkaTopic, partition }))
          const ids = await reader.topicIds([...new Set(at.map(({ topic }) => topic))])
          const ends = await reader.offsets(at, LATEST)
          for (const place of begun) {
            const end = ends.get(place.key)
            if (end === undefined || end < 0) throw new Error(`the end of ${place.key} is not known`)
            assigned.set(place.key, new Assigned(place, ids.get(place.kafkaTopic), end, maxRecords))
          }
        },
        catch: (error) => error
      }).pipe(
        Effect.tapError((error) => Effect.logDebug(`${name} cannot learn where the log ends and tries again`, error)),
        Effect.retry(askAgain),
        Effect.orDie // the schedule has no end
      )

    /** What waits to be begun again at the end. */
    const lost = new Map<Key, Assigned>()
    const lose = (partition: Assigned) => {
      partition.stopped = true
      lost.set(partition.key, partition)
      handling.wake()
    }
    const loseStale = () => {
      const oldest = (clock.currentTimeMillisUnsafe() - skipAfterMillis) * 1_000
      for (const partition of assigned.values()) {
        if (!partition.handling && !partition.stopped && (partition.head?.appendedAt ?? Infinity) < oldest)
          lose(partition)
      }
    }

    const connect = () => new Connection(settings, [...new Set(places.map(({ kafkaTopic }) => kafkaTopic))])
    yield* begin(places)
    const reading = new Reading({
      group: name,
      connect,
      reader,
      assigned,
      watchMillis,
      answered: handling.wake,
      startAgain: lose
    })
    const turn = Effect.gen(function* () {
      if (skipAfterMillis !== Infinity) loseStale()
      const gone = [...lost.values()].filter((partition) => !partition.handling)
      if (gone.length > 0) {
        yield* begin(gone)
        for (const { key, partition, topic } of gone) {
          lost.delete(key)
          skipped({ topic, partition })
        }
      }
      while (true) {
        const next = handling.next(assigned.values(), ({ ready }) => ready)
        const batch = next?.take(subscription)
        if (next === undefined || batch === undefined) break
        yield* handling.start(next, batch)
      }
      reading.wake()
    })
    return yield* Effect.acquireUseRelease(
      Effect.sync(() => reading.wake()),
      () => Effect.andThen(following.started ?? Effect.void, Effect.raceFirst(handling.run(turn), reading.run())),
      () =>
        Effect.suspend(() => {
          reading.stop()
          return Effect.ensuring(
            handling.finish(),
            Effect.sync(() => reading.close())
          )
        })
    )
  })
