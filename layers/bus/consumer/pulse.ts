/**
 * What a consumer group does once a second: sees whether its partitions are still its own, learns how far those are who feed
 * them, lets time pass where nothing is left to process, remembers it, and ticks.
 * @module
 */
import { feedsOf } from "@argusiq/domain/pipeline.ts"
import { Clock, Effect, type Scope } from "effect"
import type { Loop } from "./Loop.ts"
import * as Offsets from "./Offsets.ts"
import { keyOf, type Partition } from "./Partition.ts"
import { unknown } from "./PartitionTime.ts"
import { tick } from "./tick.ts"

/** Beyond it the pulse goes without what the database would have told. */
const patience = "2 seconds"

/** Never ends. Ticks run in the scope, each partition's by itself. */
export const pulse = <R>(loop: Loop<R>): Effect.Effect<never, never, R | Scope.Scope> =>
  beat(loop).pipe(
    Effect.catchDefect((defect) => Effect.logError(`A fault of ours in the pulse of ${loop.consumer.group}`, defect)),
    Effect.delay("1 second"),
    Effect.forever
  )

const beat = Effect.fnUntraced(function* <R>(loop: Loop<R>) {
  yield* learn(loop)
  for (const partition of loop.partitions.values()) {
    yield* partition.turn.withPermitsIfAvailable(1)(Effect.sync(() => partition.advanceWithoutLag()))
  }
  yield* remember(loop)
  if (loop.consumer.tick === undefined) return
  for (const partition of loop.partitions.values()) {
    if (partition.ticking) continue
    partition.ticking = true
    yield* Effect.forkScoped(
      partition.turn.withPermit(tick(loop, partition)).pipe(
        Effect.catchTag("Fenced", () => lose(loop, partition)),
        Effect.ensuring(Effect.sync(() => (partition.ticking = false)))
      )
    )
  }
})

/** The order matters: the feeders' times first, then where the log ends. What they wrote by that time lies below the end. */
const learn = Effect.fnUntraced(function* <R>(loop: Loop<R>) {
  const { bus, consumer, metrics, partitions, sql } = loop
  const feeds = new Map(consumer.topics.map((topic) => [topic, feedsOf(topic, consumer.group)]))
  const clock = (yield* Clock.currentTimeMillis) * 1_000
  const groups = [consumer.group, ...[...feeds.values()].flatMap((feed) => feed.groups.map(({ group }) => group))]
  const progress = yield* whenAvailable(Offsets.progressOf(sql, [...new Set(groups)]))
  const lag = yield* whenAvailable(bus.lag(consumer.group))
  if (lag === undefined) return
  const lagOf = new Map(lag.map((position) => [keyOf(position), position]))
  const progressAt = new Map(progress?.map((row) => [`${row.group} ${keyOf(row)}`, row]))
  if (isRewound(loop, progress ?? [])) loop.rewound.openUnsafe()
  const total = new Map(consumer.topics.map((topic) => [topic, { records: 0n, seconds: 0 }]))
  for (const [key, partition] of partitions) {
    const { topic, partition: number } = partition.at
    if ((progressAt.get(`${consumer.group} ${key}`)?.epoch ?? 0n) > partition.epoch) {
      yield* lose(loop, partition)
      continue
    }
    const position = lagOf.get(key)
    // Sought on the bus past what was read.
    if (consumer.offsets === "bus" && position !== undefined && position.offset > (partition.next ?? position.offset)) {
      partition.next = position.offset
    }
    const end = position === undefined ? undefined : position.offset + position.records
    const next = partition.next ?? position?.offset
    const sum = total.get(topic)
    if (end !== undefined && next !== undefined && next < end && sum !== undefined) {
      sum.records += end - next
      sum.seconds = Math.max(sum.seconds, position?.seconds ?? 0)
    }
    const feed = feeds.get(topic)
    if (progress === undefined || feed === undefined || end === undefined) continue
    const times = feed.groups.flatMap(({ group, topic: read }) => {
      const timeOf = (fed: number) => progressAt.get(`${group} ${read}/${fed}`)?.time ?? unknown
      return feed.everywhere ? Array.from({ length: bus.partitions }, (_, fed) => timeOf(fed)) : [timeOf(number)]
    })
    if (feed.clock) times.push(clock)
    if (feed.everywhere) {
      // Records tell no time here: what the feeders said stands until all of it is processed.
      if (partition.isFeedAhead()) continue
      partition.advanceWithoutLag()
    }
    if (times.length > 0) partition.feed = { time: Math.min(...times), end }
  }
  for (const [topic, { records, seconds }] of total) metrics.lag(topic, Number(records), seconds)
})

/** Of a partition that this member reads, or that has stopped here. */
const isRewound = <R>({ consumer, partitions, status }: Loop<R>, progress: ReadonlyArray<Offsets.Progress>) => {
  const rewound = progress.filter((row) => row.rewound && row.group === consumer.group)
  if (rewound.length === 0) return false
  const stopped = status.all().filter((report) => report.group === consumer.group && report.status._tag === "Stopped")
  const stoppedKeys = new Set(stopped.map(keyOf))
  return rewound.some((row) => {
    const partition = partitions.get(keyOf(row))
    return partition === undefined ? stoppedKeys.has(keyOf(row)) : row.epoch > partition.epoch
  })
}

/** Undefined when it fails or takes too long; the loop's batches report such an outage. */
const whenAvailable = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A | undefined, never, R> =>
  effect.pipe(
    Effect.timeoutOption(patience),
    Effect.map((result) => (result._tag === "Some" ? result.value : undefined)),
    Effect.catchCause(() => Effect.succeed(undefined))
  )

const remember = <R>({ consumer, partitions, sql }: Loop<R>) =>
  Effect.suspend(() => {
    const moved = [...partitions.values()].filter(({ time, keptTime }) => time > keptTime)
    if (moved.length === 0) return Effect.void
    const times = moved.map((partition) => partition.time)
    const kept = Offsets.keepTimes(
      sql,
      consumer.group,
      moved.map(({ at }) => at),
      times
    )
    return Effect.map(whenAvailable(Effect.as(kept, true)), (done) => {
      if (done !== true) return
      moved.forEach((partition, index) => (partition.keptTime = Math.max(partition.keptTime, times[index]!)))
    })
  })

/** Somebody else has taken the partition over. */
const lose = <R>({ consumer, partitions, status }: Loop<R>, partition: Partition) =>
  Effect.suspend(() => {
    if (partitions.get(keyOf(partition.at)) !== partition) return Effect.void
    partitions.delete(keyOf(partition.at))
    status.remove(consumer.group, partition.at)
    return Effect.logInfo(`${consumer.group} no longer has ${keyOf(partition.at)}: another member has taken it over.`)
  })
