/**
 * How live traffic is doing, which jobs must not slow down: how much of it waits, and up to when it is stored.
 * @module
 */
import { type Instant } from "@argusiq/domain/ids.ts"
import { Groups, pipeline } from "@argusiq/domain/pipeline.ts"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { type Context, Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { type SqlError } from "effect/sql/SqlError"
import { type Bus } from "../bus/Bus.ts"

type LogBus = Context.Service.Shape<typeof Bus>

const deadLetterTopics = new Set(Object.values(Topics).map(deadLetterTopic))

/** What carries live messages: dead letters may wait. */
const stages = pipeline.flatMap(({ group, reads }) =>
  reads.filter((topic) => !deadLetterTopics.has(topic)).map((topic) => ({ group, topic }))
)
const groups = [...new Set(stages.map(({ group }) => group))]
const keyOf = ({ group, topic }: { readonly group: string; readonly topic: string }) => `${group} ${topic}`
const carrying = new Set(stages.map(keyOf))

/**
 * Records that each group of the pipeline has not yet taken. Groups that store rows tell the bus late: what they have stored
 * beside their rows counts.
 */
export const backlog = Effect.fnUntraced(function* (bus: LogBus, sql: SqlClient.SqlClient) {
  const stored = yield* sql<{ group: string; topic: string; partition: number; next: bigint }>`
    select "group", topic, partition, next from consumer_offsets
    where "group" = any(${groups}::text[]) and next is not null and log_id = ${bus.logId}`
  const beside = new Set(stored.map(keyOf))
  const waiting = new Map<string, number>()
  const add = (group: string, records: number) => waiting.set(group, (waiting.get(group) ?? 0) + records)
  yield* Effect.forEach(
    stored.filter((row) => carrying.has(keyOf(row))),
    ({ group, next, partition, topic }) =>
      Effect.map(bus.range({ topic, partition }), ({ end }) => add(group, end > next ? Number(end - next) : 0)),
    { concurrency: "unbounded", discard: true }
  )
  for (const group of groups) {
    if (stages.every((stage) => stage.group !== group || beside.has(keyOf(stage)))) continue
    for (const { records, topic } of yield* bus.lag(group)) {
      if (carrying.has(keyOf({ group, topic })) && !beside.has(keyOf({ group, topic }))) add(group, Number(records))
    }
  }
  return waiting as ReadonlyMap<string, number>
})

/** Messages that the bridge has stamped may be on their way to the log for so long. */
const onTheirWay = 5_000_000

/**
 * Messages received before it are stored, in the audit copy and as readings; undefined while that is not known, because the
 * writers have never run or have just begun.
 */
export const settledBefore = (
  { partitions }: LogBus,
  sql: SqlClient.SqlClient
): Effect.Effect<Instant | undefined, SqlError> =>
  sql<{ known: number; time: number | null }>`
    select count(partition_time)::int as known, (extract(epoch from min(partition_time)) * 1000000)::float8 as time
    from consumer_offsets
    where partition < ${partitions} and (("group" = ${Groups.rawCopy} and topic = ${Topics.raw})
      or ("group" = ${Groups.telemetryWriter} and topic = ${Topics.normalized}))`.pipe(
    Effect.map(([row]) =>
      row === undefined || row.time === null || row.known < 2 * partitions
        ? undefined
        : Math.round(row.time) - onTheirWay
    )
  )
