/**
 * The table consumer_offsets: how far each group has come in each partition. For groups whose effects are rows it is the
 * truth, moved in the transaction of the rows; for all groups it tells how far in time a partition is.
 * @module
 */
import type { Instant } from "@argusiq/domain/ids.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { Position, TopicPartition } from "../Bus.ts"
import { unknown } from "./PartitionTime.ts"

type Sql = SqlClient.SqlClient

export interface StoredOffset extends TopicPartition {
  readonly epoch: bigint
  /** Of the log that `next` counts in; null with it. */
  readonly log_id: string | null
  readonly next: bigint | null
  readonly last_message_id: string | null
  readonly time: Instant
}

export interface Owned extends TopicPartition {
  readonly group: string
  readonly epoch: bigint
}

const columns = (partitions: ReadonlyArray<TopicPartition>) => ({
  topics: partitions.map(({ topic }) => topic),
  numbers: partitions.map(({ partition }) => partition)
})

const micros = (sql: Sql, column: string) => sql.literal(`(extract(epoch from ${column}) * 1000000)::bigint`)

const withTime = <Row extends { readonly time: bigint | null }>(row: Row) => ({
  ...row,
  time: row.time === null ? unknown : Number(row.time)
})

/** Takes possession of partitions: the epoch rises, so that whoever had them before cannot commit any more. Waits for a
 * transaction of theirs that is under way, and sees what it did. */
export const takeOver = (sql: Sql, group: string, partitions: ReadonlyArray<TopicPartition>) => {
  const { topics, numbers } = columns(partitions)
  return sql<Omit<StoredOffset, "time"> & { readonly time: bigint | null }>`
    insert into consumer_offsets ("group", topic, partition, epoch)
    select ${group}, topic, partition, 1 from unnest(${topics}::text[], ${numbers}::int[]) as owned (topic, partition)
    order by topic, partition
    on conflict ("group", topic, partition) do update set epoch = consumer_offsets.epoch + 1, rewound = false
    returning topic, partition, epoch, log_id, next, last_message_id::text, ${micros(sql, "partition_time")} as time
  `.pipe(Effect.map((rows): ReadonlyArray<StoredOffset> => rows.map(withTime)))
}

/** Gives a partition that this group never read its first offset. */
export const begin = (sql: Sql, { group, topic, partition, epoch }: Owned, logId: string, next: bigint) =>
  sql`
    update consumer_offsets set log_id = ${logId}, next = ${String(next)}::bigint
    where "group" = ${group} and topic = ${topic} and partition = ${partition} and epoch = ${String(epoch)}::bigint
      and next is null
  `.pipe(Effect.asVoid)

/** Sets a partition to an offset of this log, whatever it was at; `false` when another has taken the partition over. */
export const beginAgain = (sql: Sql, { group, topic, partition, epoch }: Owned, logId: string, next: bigint) =>
  sql`
    update consumer_offsets set log_id = ${logId}, next = ${String(next)}::bigint, last_message_id = null
    where "group" = ${group} and topic = ${topic} and partition = ${partition} and epoch = ${String(epoch)}::bigint
    returning epoch
  `.pipe(Effect.map((rows) => rows.length === 1))

/** Sets the partitions of which another offset is stored to these, and takes them from whoever has them. Answers how many that were. */
export const rewind = (sql: Sql, group: string, positions: ReadonlyArray<Position>, logId: string) => {
  const { topics, numbers } = columns(positions)
  return sql`
    update consumer_offsets held
    set epoch = epoch + 1, log_id = ${logId}, next = wanted.next, last_message_id = null, rewound = true
    from unnest(${topics}::text[], ${numbers}::int[], ${positions.map(({ offset }) => String(offset))}::text[]::bigint[])
      as wanted (topic, partition, next)
    where held."group" = ${group} and held.topic = wanted.topic and held.partition = wanted.partition
      and held.next is not null and (held.next <> wanted.next or held.log_id <> ${logId})
    returning held.topic
  `.pipe(Effect.map((rows) => rows.length))
}

export interface Progress extends TopicPartition {
  readonly group: string
  readonly epoch: bigint
  readonly time: Instant
  /** A person has set the offset, and nobody has taken the partition over since. */
  readonly rewound: boolean
}

/** How far in time the partitions of these groups are, and who owns them. */
export const progressOf = (sql: Sql, groups: ReadonlyArray<string>) =>
  sql<Omit<Progress, "time"> & { readonly time: bigint | null }>`
    select "group", topic, partition, epoch, rewound, ${micros(sql, "partition_time")} as time from consumer_offsets
    where "group" = any(${groups}::text[])
  `.pipe(Effect.map((rows): ReadonlyArray<Progress> => rows.map(withTime)))

/** Remembers how far in time partitions are; never backwards. */
export const keepTimes = (
  sql: Sql,
  group: string,
  partitions: ReadonlyArray<TopicPartition>,
  known: ReadonlyArray<Instant>
) => {
  const { topics, numbers } = columns(partitions)
  return sql`
    insert into consumer_offsets ("group", topic, partition, partition_time)
    select ${group}, topic, partition, timestamptz 'epoch' + time * interval '1 microsecond'
    from unnest(${topics}::text[], ${numbers}::int[], ${known.map(String)}::bigint[])
      as known (topic, partition, time)
    order by topic, partition
    on conflict ("group", topic, partition) do update
      set partition_time = greatest(consumer_offsets.partition_time, excluded.partition_time)
    returning set_config('synchronous_commit', 'off', true)
  `.pipe(Effect.asVoid)
}

/**
 * Completes when everything committed before is flushed: the write-ahead log is flushed in order, so one synchronous commit
 * of something, here of a message that nobody reads, answers for all asynchronous ones before it.
 */
export const flushed = (sql: Sql) =>
  sql`select set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, 'argusiq', ''::text)::text`.pipe(
    Effect.asVoid
  )
