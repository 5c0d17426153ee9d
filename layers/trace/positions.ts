/**
 * Where a message lies in the log, and how far the groups have come that read it.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { type Progress, type Step } from "@argusiq/domain/message-trace.ts"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { type Context, Effect, Option, Stream } from "effect"
import { type SqlClient } from "effect/sql"
import { type Bus, type StoredRecord, type TopicPartition } from "../bus/Bus.ts"
import { partitionOf } from "../bus/murmur2.ts"
import { orUnavailable } from "../registry/refusals.ts"

type BusShape = Context.Service.Shape<typeof Bus>

/** Records looked at for one message in one partition: a stage that keeps up has it among the first. */
const LOOKED_AT = 2_000
/** What cannot be found within this is not told: the answer is for somebody who waits. */
const PATIENCE = "60 millis"
/** Clocks of bridges and brokers may differ so far. */
const CLOCKS_DIFFER = 100_000

const encoder = new TextEncoder()
/** The partition of a device's messages on every topic up to the readings. */
export const partitionOfDevice = ({ partitions }: BusShape, deviceId: string) =>
  partitionOf(partitions, encoder.encode(deviceId))

/** The record of a message appended soon after `from`. Undefined: not there, no longer there, or too far to look for. */
export const findRecord = (bus: BusShape, at: TopicPartition, messageId: string, from: Instant) =>
  Effect.gen(function* () {
    const start = yield* bus.offsetAt(at, from - CLOCKS_DIFFER)
    const { end } = yield* bus.range(at)
    if (start >= end) return undefined
    const to = end - start > BigInt(LOOKED_AT) ? start + BigInt(LOOKED_AT) : end
    const found = yield* bus.read(at, start, to).pipe(
      Stream.filter(({ headers }) => headers["message-id"] === messageId),
      Stream.runHead
    )
    return Option.getOrUndefined(found)
  }).pipe(
    Effect.timeoutOption(PATIENCE),
    Effect.map(Option.getOrUndefined),
    Effect.orElseSucceed(() => undefined)
  )

/** A message that is not in the audit copy: in the partitions of the raw topic, and of what the bridge refused. */
export const findRaw = (bus: BusShape, messageId: string, receivedAt: Instant) =>
  Effect.forEach(
    [Topics.raw, deadLetterTopic(Topics.raw)].flatMap((topic) =>
      Array.from({ length: bus.partitions }, (_, partition) => ({ topic, partition }))
    ),
    (at) => findRecord(bus, at, messageId, receivedAt),
    { concurrency: "unbounded" }
  ).pipe(Effect.map((found): StoredRecord | undefined => found.find((record) => record !== undefined)))

interface OffsetRow {
  readonly group: string
  readonly topic: string
  readonly log_id: string | null
  readonly next: bigint | null
  readonly time: number | null
}

/** A place of the message, with the record where it was read. */
type Known = Pick<StoredRecord, "offset"> & Partial<StoredRecord>

export interface Located extends Step, Progress {
  readonly partition: number
  readonly headers: StoredRecord["headers"] | undefined
}

/** Each step with the message's record on its topic, and how far its group has come there. */
export const locate = Effect.fnUntraced(function* (
  bus: BusShape,
  pipeline: SqlClient.SqlClient,
  steps: ReadonlyArray<Step>,
  message: {
    readonly messageId: string
    readonly partition: number
    readonly receivedAt: Instant
    /** Known places, by topic. */
    readonly known: ReadonlyMap<string, Known>
  }
): Effect.fn.Return<ReadonlyArray<Located>, DatabaseUnavailable> {
  const { known, messageId, partition, receivedAt } = message
  const groups = [...new Set(steps.map(({ group }) => group))]
  const rows = yield* pipeline<OffsetRow>`
    select "group", topic, log_id, next, (extract(epoch from partition_time) * 1000000)::float8 as time
    from consumer_offsets where "group" = any(${groups}::text[]) and partition = ${partition}`.pipe(orUnavailable)
  const topics = [...new Set(steps.map(({ topic }) => topic))]
  const records = new Map(
    yield* Effect.forEach(
      topics,
      (topic) => {
        const there = known.get(topic)
        const record: Effect.Effect<Known | undefined> =
          there === undefined ? findRecord(bus, { topic, partition }, messageId, receivedAt) : Effect.succeed(there)
        return Effect.map(record, (record) => [topic, record] as const)
      },
      { concurrency: "unbounded" }
    )
  )
  const committed = new Map(
    yield* Effect.forEach(
      groups,
      (group) =>
        bus.lag(group).pipe(
          Effect.timeoutOption(PATIENCE),
          Effect.map((lag) => [group, Option.getOrElse(lag, () => [])] as const),
          Effect.orElseSucceed(() => [group, []] as const)
        ),
      { concurrency: "unbounded" }
    )
  )
  return steps.map(({ group, topic }): Located => {
    const row = rows.find((row) => row.group === group && row.topic === topic)
    const record = records.get(topic)
    const position = committed.get(group)?.find((at) => at.topic === topic && at.partition === partition)
    const isOfThisLog = row !== undefined && row.next !== null && row.log_id === bus.logId
    return {
      group,
      topic,
      partition,
      offset: record?.offset,
      next: isOfThisLog ? row.next! : position?.offset,
      time: row?.time ?? undefined,
      headers: record?.headers
    }
  })
})
