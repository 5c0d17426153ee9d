/**
 * Takes records through to their end: processed, what they give published, rows and offset stored; or, where one of them
 * can never be taken, that one dead-lettered and its neighbours unhurt.
 * @module
 */
import { deadLetterRecord } from "@argusiq/domain/dead-letter.ts"
import { type Fenced, Poison } from "@argusiq/domain/errors.ts"
import { deadLetterTopic, topicTable } from "@argusiq/domain/topics.ts"
import { Clock, Effect } from "effect"
import { CurrentTraceparents, type MessageTracing, type TracedBatch } from "../../tracing/MessageTracing.ts"
import type { Batch, StoredRecord } from "../Bus.ts"
import type { Outcome } from "../Consumer.ts"
import { goBackToSkipped, stopWhereRecordsAreMissing } from "./assign.ts"
import type { Loop } from "./Loop.ts"
import * as OffsetMoves from "./OffsetMoves.ts"
import { type Broken, type Refused } from "./Outages.ts"
import type { Partition } from "./Partition.ts"
import * as PartitionTime from "./PartitionTime.ts"

/** How often a record alone is tried when code of ours throws on it: a fault may also lie in the moment. */
const triesOfOne = 3

const nothing: Outcome = { publish: [], deadLetters: [] }

/** Part of a batch; `records` may be empty where all are meant for others. */
interface Slice extends Batch {
  /** The record before `next`, whoever it is meant for. */
  readonly last: StoredRecord | undefined
}

/** The records that are this group's to process: not those below the offset, nor the retries meant for another group. */
const ownRecords = (group: string, next: bigint | undefined, { records }: Batch): ReadonlyArray<StoredRecord> => {
  const isOwn = ({ offset, headers }: StoredRecord) =>
    (next === undefined || offset >= next) && (headers["retry-group"] ?? group) === group
  return records.every(isOwn) ? records : records.filter(isOwn)
}

/** Handles a batch as {@link Bus.subscribe} hands it out. */
export const settleBatch = Effect.fnUntraced(function* <R>(
  loop: Loop<R>,
  partition: Partition,
  batch: Batch
): Effect.fn.Return<void, Fenced, R> {
  const { consumer, metrics } = loop
  const next = partition.next
  if (next !== undefined && batch.records[0]!.offset > next) {
    if (yield* stopWhereRecordsAreMissing(loop, partition, batch, next)) return
    if (consumer.offsets === "postgres" && (yield* goBackToSkipped(loop, batch, next))) return
  }
  // On the bus the offset is the bus's own: it may have been set back on purpose.
  const from = consumer.offsets === "bus" ? undefined : next
  if (from !== undefined && batch.next <= from) return
  const records = ownRecords(consumer.group, from, batch)
  yield* settle(loop, partition, { ...batch, records, last: batch.records.at(-1) })
  metrics.batch(batch.topic, records.length)
})

const settle = <R>(loop: Loop<R>, partition: Partition, slice: Slice): Effect.Effect<void, Fenced, R> =>
  Effect.catch(deliver(loop, partition, slice), (failure) => {
    if (failure._tag === "Fenced") return Effect.fail(failure)
    const [only, ...others] = slice.records
    if (only === undefined) return Effect.die(failure)
    if (others.length > 0) return settleHalves(loop, partition, slice)
    return failure._tag === "Refused"
      ? bury(loop, partition, slice, only, failure.error)
      : settleBroken(loop, partition, slice, only, failure)
  })

const settleHalves = <R>(loop: Loop<R>, partition: Partition, slice: Slice): Effect.Effect<void, Fenced, R> => {
  const middle = slice.records.length >> 1
  const first = slice.records.slice(0, middle)
  const last = first.at(-1)!
  return Effect.andThen(
    settle(loop, partition, { ...slice, records: first, next: last.offset + 1n, last }),
    Effect.suspend(() => settle(loop, partition, { ...slice, records: slice.records.slice(middle) }))
  )
}

/** Everything once, waiting for what is away. */
const deliver = <R>(loop: Loop<R>, partition: Partition, slice: Slice) =>
  loop.tracing === undefined ? deliverAll(loop, partition, slice) : deliverTraced(loop, loop.tracing, partition, slice)

/** The same under a span of the batch, and with spans of the sampled messages in it. */
const deliverTraced = <R>(loop: Loop<R>, tracing: MessageTracing, partition: Partition, slice: Slice) => {
  const { group, service } = loop.consumer
  const traced = tracing.begin(service, group, slice.records)
  const delivered = deliverAll(loop, partition, slice, traced).pipe(
    Effect.withSpan(`${service} batch`, {
      kind: "consumer",
      attributes: {
        "argusiq.service": service,
        "messaging.consumer.group.name": group,
        "messaging.destination.name": slice.topic,
        "messaging.destination.partition.id": String(slice.partition),
        "messaging.batch.message_count": slice.records.length
      }
    })
  )
  return traced === undefined
    ? delivered
    : delivered.pipe(
        Effect.provideService(CurrentTraceparents, traced.traceparents),
        Effect.onExit((exit) => Effect.sync(() => traced.end(exit)))
      )
}

const deliverAll = Effect.fnUntraced(function* <R>(
  loop: Loop<R>,
  partition: Partition,
  slice: Slice,
  traced?: TracedBatch
) {
  const { consumer, outages } = loop
  const time = PartitionTime.afterOf(partition.at.topic, partition.time, slice.records)
  const outcome: Outcome<R> =
    slice.records.length === 0
      ? nothing
      : yield* outages.persist(
          partition.at,
          Effect.suspend(() => consumer.process(slice, time, partition.epoch))
        )
  yield* conclude(
    loop,
    partition,
    slice,
    time,
    traced === undefined ? outcome : { ...outcome, publish: traced.goOn(outcome.publish) }
  )
})

/** Publishes what the records came to, then moves the offset, with the rows where there are any. */
const conclude = Effect.fnUntraced(function* <R>(
  loop: Loop<R>,
  partition: Partition,
  slice: Slice,
  time: number,
  outcome: Outcome<R>
) {
  yield* publish(loop, partition, outcome)
  const from = partition.next
  if (loop.consumer.offsets === "postgres" && from !== undefined) {
    const { group } = loop.consumer
    const move = { ...partition.at, group, epoch: partition.epoch, from, to: slice.next, last: slice.last, time }
    yield* loop.outages.persist(partition.at, store(loop, move, outcome))
    partition.keptTime = time
  } else {
    yield* loop.outages.persist(partition.at, storeRows(loop, outcome))
  }
  partition.next = slice.next
  partition.time = Math.max(partition.time, time)
  outcome.stored?.()
  if (outcome.tickAtOnce === true) partition.tickWanted = true
})

/** What is to be stored; undefined: nothing. */
const storing = <R>({ rows, store }: Outcome<R>) => store ?? rows?.store(rows.values)

/** The rows in a transaction of their own. */
export const storeRows = <R>({ sql }: Loop<R>, outcome: Outcome<R>) => {
  const rows = storing(outcome)
  return rows === undefined ? Effect.void : sql.withTransaction(rows)
}

/**
 * Rows and offset in one transaction, which several partitions share where they can. Where it was committed before, and its
 * commit not answered, nothing is left to do.
 */
export const store = <R>(loop: Loop<R>, move: OffsetMoves.Move, outcome: Outcome<R>) => {
  const { commits, safeguards } = loop
  const alone = storeAlone(loop, move, storing(outcome))
  if (outcome.store !== undefined || !safeguards.conditionalOffsets || !safeguards.offsetWithRows) return alone
  return Effect.flatMap(commits.submit(move, outcome.rows), (answer) => (answer === "stored" ? Effect.void : alone))
}

const storeAlone = <R>({ safeguards, sql }: Loop<R>, move: OffsetMoves.Move, rows: Outcome<R>["store"]) => {
  const moved = OffsetMoves.move(sql, move, safeguards.conditionalOffsets)
  if (rows === undefined) return moved
  if (!safeguards.offsetWithRows) return Effect.andThen(moved, sql.withTransaction(rows))
  return Effect.catchIf(
    sql.withGuard(OffsetMoves.moveOrFail(sql, move, safeguards.conditionalOffsets), rows),
    OffsetMoves.isNotMoved,
    () => OffsetMoves.moveBefore(sql, move)
  )
}

/** Durable when it completes. Each of the two is repeated by itself, so that one that fails does not repeat the other. */
export const publish = <R>(loop: Loop<R>, partition: Partition, { publish: records, deadLetters }: Outcome<R>) => {
  const { bus, outages } = loop
  const results =
    records.length === 0
      ? undefined
      : outages.persist(
          partition.at,
          Effect.suspend(() => bus.publish(records))
        )
  if (deadLetters.length === 0) return results ?? Effect.void
  const dead = publishDeadLetters(loop, partition, deadLetters)
  return results === undefined ? dead : Effect.all([results, dead], { concurrency: 2, discard: true })
}

const publishDeadLetters = Effect.fnUntraced(function* <R>(
  { bus, consumer, metrics, outages }: Loop<R>,
  { at }: Partition,
  deadLetters: Outcome["deadLetters"]
) {
  if (!topicTable.has(deadLetterTopic(at.topic))) {
    yield* Effect.logError(
      `${consumer.group} passes ${deadLetters.length} record(s) of ${at.topic}/${at.partition} by: ` +
        `${deadLetters[0]!.error.message}. They stay in the topic, first at offset ${deadLetters[0]!.record.offset}.`
    )
    metrics.passed(at.topic, deadLetters.length)
    return
  }
  const failedAt = (yield* Clock.currentTimeMillis) * 1_000
  const { group, service: stage } = consumer
  const records = deadLetters.map((letter) => deadLetterRecord({ ...letter, group, stage, failedAt }))
  yield* outages.persist(
    at,
    Effect.suspend(() => bus.publish(records))
  )
  const reasons = Map.groupBy(deadLetters, ({ error }) => error.reason)
  for (const [reason, letters] of reasons) metrics.deadLetters(at.topic, reason, letters.length)
})

/** The one record to blame goes to the dead letters; the offset moves past it without its rows. */
const bury = <R>(loop: Loop<R>, partition: Partition, slice: Slice, record: StoredRecord, error: Poison) =>
  Effect.catchTag(
    conclude(loop, partition, slice, PartitionTime.afterOf(partition.at.topic, partition.time, slice.records), {
      publish: [],
      deadLetters: [{ record, error }]
    }),
    ["Refused", "Broken"],
    (failure) => Effect.die(failure)
  )

/**
 * A record on which code of ours throws. It is tried again, in case the fault lay in the moment, and then dead-lettered as
 * what cannot be stored, saying that the fault is ours: it can be retried from there once that is put right, while the
 * partition's other devices go on. The pauses make a fault that hits every record slow and loud rather than fast.
 */
const settleBroken = Effect.fnUntraced(function* <R>(
  loop: Loop<R>,
  partition: Partition,
  slice: Slice,
  record: StoredRecord,
  first: Broken
): Effect.fn.Return<void, Fenced, R> {
  const place = `${record.topic}/${record.partition} offset ${record.offset}`
  let failure: Broken | Refused | Fenced = first
  for (let tried = 1; tried < triesOfOne; tried++) {
    yield* Effect.sleep(100 * 2 ** tried)
    const result = yield* Effect.result(deliver(loop, partition, slice))
    if (result._tag === "Success") return
    failure = result.failure
    if (failure._tag === "Fenced") return yield* failure
    if (failure._tag === "Refused") return yield* bury(loop, partition, slice, record, failure.error)
  }
  const detail = failure._tag === "Broken" ? failure.detail : first.detail
  yield* Effect.logError(
    `A fault of ours: ${loop.consumer.group} failed ${triesOfOne} times on ${place} (message ${record.headers["message-id"]}). ` +
      `The record goes to ${deadLetterTopic(record.topic)}, from where it can be retried once this is corrected.\n${detail}`
  ).pipe(
    Effect.annotateLogs({ messageId: record.headers["message-id"] ?? "", deviceId: record.headers["device-id"] ?? "" })
  )
  const message = `A fault of the platform, not of the message: ${detail}`
  yield* bury(loop, partition, slice, record, new Poison({ reason: "Unstorable", message }))
})
