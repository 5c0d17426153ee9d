/**
 * The dead letters that somebody wants retried, as the jobs service works through them: what is to be published is written
 * down before, with where on the bus it would be, and marked after. So a crash in between neither loses nor doubles it.
 * @module
 */
import { BRIDGE_GROUP } from "@argusiq/domain/dead-letter.ts"
import { type Retry } from "@argusiq/domain/dead-letter-retry.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { type SqlClient } from "effect/sql"
import { Effect } from "effect"
import { type Position, type TopicPartition } from "../bus/Bus.ts"
import { bigintegers, integers, texts, uuids } from "../telemetry/columns.ts"

type Sql = SqlClient.SqlClient

/** A retry that waits, and where its record lies. */
export interface Queued extends Retry, Position {}

interface QueuedRow extends Omit<Queued, "configAt" | "entry"> {
  readonly retry_entry: number | null
  readonly config: bigint | null
}

/** The next ones in the order in which they failed: a device's messages go their way again in theirs. */
export const queued = (sql: Sql, most: { readonly rows: number; readonly bytes: number }) =>
  sql<QueuedRow & { readonly before: bigint }>`
    select * from (
      select id, "group", topic, partition, "offset", attempts, retry_entry,
        (extract(epoch from config_at) * 1000000)::bigint as config,
        sum(size) over (order by topic, partition, "offset")::bigint - size as before
      from (
        select * from dead_letters where state = 'queued' order by topic, partition, "offset" limit ${most.rows}
      ) as next
    ) as measured
    where before < ${String(most.bytes)}::bigint
    order by topic, partition, "offset"`.pipe(
    Effect.map((rows): ReadonlyArray<Queued> =>
      rows.map(({ attempts, config, group, id, offset, partition, retry_entry, topic }) => ({
        id,
        group,
        topic,
        partition,
        offset,
        attempts,
        entry: retry_entry,
        configAt: config === null ? null : (Number(config) satisfies Instant)
      }))
    )
  )

/** Where the record of a retry goes, and the end of the log there. */
export interface Aim extends TopicPartition {
  readonly id: string
  readonly end: bigint
}

const columns = (aims: ReadonlyArray<Aim>) => ({
  ids: uuids(aims.map(({ id }) => id)),
  topics: texts(aims.map(({ topic }) => topic)),
  partitions: integers(aims.map(({ partition }) => partition)),
  ends: bigintegers(aims.map(({ end }) => end))
})

/** About to be published: from here on they may be on the bus, at `end` or later. */
export const begin = (sql: Sql, aims: ReadonlyArray<Aim>) => {
  const { ends, ids, partitions, topics } = columns(aims)
  return sql`update dead_letters letter set state = 'publishing', retry_topic = aim.topic,
      retry_partition = aim.partition, retry_from = aim."end", retry_until = null
    from unnest(${ids}, ${topics}, ${partitions}, ${ends}) as aim (id, topic, partition, "end")
    where letter.id = aim.id and letter.state = 'queued'`.pipe(Effect.asVoid)
}

/** On the bus before `end`. One that has failed again meanwhile stays open. */
export const published = (sql: Sql, aims: ReadonlyArray<Aim>) => {
  const { ends, ids } = columns(aims)
  return sql`update dead_letters letter set state = 'retrying', retry_until = aim."end"
    from unnest(${ids}, ${ends}) as aim (id, "end")
    where letter.id = aim.id and letter.state = 'publishing'`.pipe(Effect.asVoid)
}

/** Refused messages of the bridge that have got in: what becomes of them further on is no longer the bridge's. */
export const entered = (sql: Sql, ids: ReadonlyArray<string>) =>
  sql`update dead_letters set state = 'resolved', resolved_at = clock_timestamp()
    where id = any(${uuids(ids)}) and state = 'publishing'`.pipe(Effect.asVoid)

/** Back to those that wait. */
export const requeue = (sql: Sql, ids: ReadonlyArray<string>) =>
  sql`update dead_letters set state = 'queued' where id = any(${uuids(ids)}) and state = 'publishing'`.pipe(
    Effect.asVoid
  )

/** Back to a person. */
export const giveBack = (sql: Sql, ids: ReadonlyArray<string>) =>
  sql`update dead_letters set state = 'open' where id = any(${uuids(ids)}) and state = 'publishing'`.pipe(Effect.asVoid)

/** What retention has removed from its topic can be neither shown nor retried. */
export const forget = (sql: Sql, ids: ReadonlyArray<string>) =>
  sql`delete from dead_letters where id = any(${uuids(ids)})`.pipe(Effect.asVoid)

/** Begun, and nobody knows whether published. `isEntry`: onto the raw topic, through the bridge's checks. */
export interface Interrupted extends TopicPartition {
  readonly id: string
  readonly from: bigint
  readonly isEntry: boolean
}

export const interrupted = (sql: Sql) =>
  sql<Interrupted>`select id, retry_topic as topic, retry_partition as partition, retry_from as "from",
      "group" = ${BRIDGE_GROUP} and retry_topic <> topic as "isEntry"
    from dead_letters where state = 'publishing' order by retry_topic, retry_partition, retry_from`

/** Retries that are on the bus, together where one look answers for all of them. */
export interface UnderWay {
  readonly group: string
  /** Where they would be dead-lettered again. */
  readonly deadLetters: TopicPartition
  readonly retried: TopicPartition
  /** All of them, or at least the first, lie before it. */
  readonly until: bigint
}

export const underWay = (sql: Sql) =>
  sql<{
    readonly group: string
    readonly topic: string
    readonly partition: number
    readonly retry_topic: string
    readonly retry_partition: number
    readonly until: bigint
  }>`
    select "group", topic, partition, retry_topic, retry_partition, min(retry_until) as until from dead_letters
    where state = 'retrying' and "group" <> ${BRIDGE_GROUP}
    group by "group", topic, partition, retry_topic, retry_partition`.pipe(
    Effect.map((rows): ReadonlyArray<UnderWay> =>
      rows.map(({ group, partition, retry_partition, retry_topic, topic, until }) => ({
        group,
        deadLetters: { topic, partition },
        retried: { topic: retry_topic, partition: retry_partition },
        until
      }))
    )
  )

/** How far each partition of the dead-letter topics has been indexed. */
export const indexedUpTo = (sql: Sql) =>
  sql<Position>`select topic, partition, next as "offset" from consumer_offsets
    where "group" = ${Groups.deadLetters} and next is not null`

/** Those that lie before `taken`, where their group is. A single entry of a message that failed as a whole does not make up for the rest. */
export const settle = (sql: Sql, { deadLetters, group, retried }: UnderWay, taken: bigint) =>
  sql`update dead_letters set
      state = case when retry_entry is distinct from entry then 'open' else 'resolved' end,
      resolved_at = case when retry_entry is distinct from entry then null else clock_timestamp() end
    where state = 'retrying' and "group" = ${group} and topic = ${deadLetters.topic}
      and partition = ${deadLetters.partition} and retry_topic = ${retried.topic}
      and retry_partition = ${retried.partition} and retry_until <= ${String(taken)}::bigint`.pipe(Effect.asVoid)
