/**
 * Where a group starts in the partitions it is given, and whether what it remembers still fits the log.
 * @module
 */
import { type OffsetOutOfLog } from "@argusiq/domain/errors.ts"
import { Deferred, Effect, Option, Stream } from "effect"
import type { Batch, Position, TopicPartition } from "../Bus.ts"
import type { Loop } from "./Loop.ts"
import * as Offsets from "./Offsets.ts"
import { keyOf, Partition } from "./Partition.ts"
import { type Bounds, type Misfit, misfit, stop } from "./stop.ts"

/** How far back the record before an offset is looked for: a log may have gaps. */
const gap = 1_000n

/** Takes the partitions over; those whose stored offset does not fit the log are reported and stay stopped. */
export const assign = <R>(loop: Loop<R>, assigned: ReadonlyArray<TopicPartition>) =>
  loop.outages.persist(undefined, assignOnce(loop, assigned)).pipe(Effect.orDie)

const assignOnce = Effect.fnUntraced(function* <R>(loop: Loop<R>, assigned: ReadonlyArray<TopicPartition>) {
  const { bus, consumer, partitions, sql, status } = loop
  const stored = yield* Offsets.takeOver(sql, consumer.group, assigned)
  const committed = new Map((yield* bus.lag(consumer.group)).map((position) => [keyOf(position), position.offset]))
  const answers: Array<Position | OffsetOutOfLog> = []
  const ranges = yield* Effect.forEach(
    stored,
    (row) => measure(bus, row, row.log_id === bus.logId ? row.next : committed.get(keyOf(row))),
    { concurrency: "unbounded" }
  )
  for (const [index, row] of stored.entries()) {
    const at = { topic: row.topic, partition: row.partition }
    partitions.delete(keyOf(at))
    const bounds: Bounds = { ...ranges[index]!, logId: bus.logId }
    const hint = committed.get(keyOf(at))
    const start =
      consumer.offsets === "bus"
        ? startOnBus(consumer.group, row, bounds, hint)
        : yield* startOf(loop, row, bounds, hint)
    if (typeof start !== "bigint") {
      answers.push(start.error)
      yield* stop(loop, { at, epoch: row.epoch, time: row.time }, start)
      continue
    }
    partitions.set(keyOf(at), new Partition(at, row.epoch, start, row.time))
    status.set(consumer.group, at, { _tag: "Running" })
    if (consumer.offsets === "postgres") answers.push({ ...at, offset: start })
  }
  return answers
})

/**
 * Where the log begins and ends; measured again where the end lies before an offset that was read already: a broker that comes
 * back from a pause answers for a moment with what it knew before, until it hears that another leads by now.
 */
const measure = (bus: Loop<never>["bus"], at: TopicPartition, offset: bigint | null | undefined) =>
  Effect.flatMap(bus.range(at), (range) =>
    (offset ?? 0n) > range.end ? Effect.delay(bus.range(at), "2 seconds") : Effect.succeed(range)
  )

const beyond = "the stored offset lies beyond the log's end: the log has lost records"
const below = "the stored offset lies below the log's start: records were removed before this group read them"

/** An offset on the bus is always of the bus's own log. */
const startOnBus = (
  group: string,
  at: TopicPartition,
  bounds: Bounds,
  committed: bigint | undefined
): bigint | Misfit => {
  if (committed === undefined) return bounds.start
  if (committed > bounds.end) return misfit(group, at, bounds, committed, bounds.logId, beyond)
  return committed < bounds.start ? misfit(group, at, bounds, committed, bounds.logId, below) : committed
}

const startOf = Effect.fnUntraced(function* <R>(
  { bus, consumer, sql }: Loop<R>,
  row: Offsets.StoredOffset,
  bounds: Bounds,
  hint: bigint | undefined
) {
  const { topic, partition, epoch, next, log_id: logId, last_message_id: lastMessageId } = row
  const { start, end } = bounds
  const { group } = consumer
  if (next === null || logId === null) {
    // Read before, by what the bus remembers, and now not all of it can be read again: the database lost what came of it.
    if (hint !== undefined && hint > start && start > 0n) {
      const what =
        "the bus remembers that this group read on to here, the database remembers nothing, and older records are gone"
      return misfit(group, row, bounds, hint, "", what)
    }
    yield* Offsets.begin(sql, { group, topic, partition, epoch }, bounds.logId, start)
    return start
  }
  if (logId !== bounds.logId) return misfit(group, row, bounds, next, logId, "the stored offset belongs to another log")
  if (next > end) return misfit(group, row, bounds, next, logId, beyond)
  if (next < start) return misfit(group, row, bounds, next, logId, below)
  if (lastMessageId === null || next === start) return next
  const before = yield* recordBefore(bus, row, start, next)
  const messageId = before?.headers["message-id"]
  if (before === undefined || messageId === lastMessageId) return next
  const what =
    `the record before the stored offset is message ${messageId ?? "without id"}, not the remembered ${lastMessageId}: ` +
    "the log was rewritten or replaced"
  return misfit(group, row, bounds, next, logId, what)
})

const recordBefore = Effect.fnUntraced(function* (
  bus: Loop<never>["bus"],
  at: TopicPartition,
  start: bigint,
  next: bigint
) {
  for (const distance of [1n, gap]) {
    const from = next - distance > start ? next - distance : start
    const last = Option.getOrUndefined(yield* Stream.runLast(bus.read(at, from, next)))
    if (last !== undefined) return last.offset < next ? last : undefined
  }
  return undefined
})

/**
 * The records between the offset and the first that came are gone from the log, not just numbered with a gap. True: they
 * are, the partition has stopped, and a person has accepted that or the loop is to stop.
 */
export const stopWhereRecordsAreMissing = Effect.fnUntraced(function* <R>(
  loop: Loop<R>,
  partition: Partition,
  batch: Batch,
  next: bigint
) {
  const { bus, consumer, outages } = loop
  const range = yield* outages.persist(batch, bus.range(batch)).pipe(Effect.orDie)
  if (range.start <= next) return false
  const bounds = { ...range, logId: bus.logId }
  const accepted = yield* Deferred.make<void>()
  const found = misfit(consumer.group, batch, bounds, next, bus.logId, below)
  yield* stop(loop, partition, found, Deferred.succeed(accepted, undefined))
  yield* Effect.raceFirst(Deferred.await(accepted), Effect.andThen(Deferred.await(outages.stopping), Effect.interrupt))
  return true
})

/**
 * The bus was sought past the stored offset, which is the truth where the effects are rows: what lies between would be
 * skipped. True: there are such records, and the subscription has been sent back to them.
 */
export const goBackToSkipped = Effect.fnUntraced(function* <R>(
  { bus, consumer, outages }: Loop<R>,
  batch: Batch,
  next: bigint
) {
  const first = Stream.runHead(bus.read(batch, next, batch.records[0]!.offset))
  const skipped = yield* outages.persist(batch, first).pipe(Effect.orDie)
  if (Option.isNone(skipped)) return false
  yield* Effect.logWarning(
    `${consumer.group} was sought past its stored offset ${next} on ${keyOf(batch)}; it goes back, since rows tell how far it is`
  )
  yield* outages
    .persist(batch, bus.seek(consumer.group, [{ topic: batch.topic, partition: batch.partition, offset: next }]))
    .pipe(Effect.orDie)
  return true
})
