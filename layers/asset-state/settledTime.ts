/**
 * Up to when all is known that assets are told of: no reading received before is still on its way to one of them, through
 * whichever partition, and through whichever child. The base of no asset's state passes it.
 *
 * What devices were measured to is on the way until every partition of asset readings has read what lay in its log when the
 * mapping had come so far. What comes of that for parents lies in the logs then, and takes another such round for each level of
 * the tree. Rounds are counted by the clock of the database: of two processes neither is ahead.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"

type Sql = SqlClient.SqlClient

/** Under these names `consumer_offsets` holds up to which clock time each partition is read, and what follows from all of them. */
const READ_GROUP = `${Groups.assetHealth}.read`
const SETTLED_GROUP = `${Groups.assetHealth}.settled`

const micros = (column: string) => `(extract(epoch from ${column}) * 1000000)::float8`
const unavailable = Effect.mapError((cause: unknown) => new DatabaseUnavailable({ cause }))

const note = (sql: Sql, group: string, partition: number, time: Instant) =>
  sql`
    insert into consumer_offsets ("group", topic, partition, partition_time)
    values (${group}, ${Topics.assetReadings}, ${partition},
      timestamptz 'epoch' + ${String(Math.round(time))}::bigint * interval '1 microsecond')
    on conflict ("group", topic, partition) do update
      set partition_time = greatest(consumer_offsets.partition_time, excluded.partition_time)`.pipe(
    Effect.asVoid,
    unavailable
  )

/** The clock that all processes have in common. */
export const clockOf = (sql: Sql) =>
  sql.unsafe<{ now: number }>(`select ${micros("clock_timestamp()")} as now`).pipe(
    Effect.map(([row]) => row!.now),
    unavailable
  )

/** All that lay in the partition's log at this clock time is read, and what came of it is published. */
export const noteRead = (sql: Sql, partition: number, clock: Instant) => note(sql, READ_GROUP, partition, clock)

export const noteSettled = (sql: Sql, time: Instant) => note(sql, SETTLED_GROUP, 0, time)

export interface Progress {
  /** The clock, after the rest was read. */
  readonly now: Instant
  /** How far the mapping is in all partitions, in received-at; undefined while one has no time. */
  readonly mapped: Instant | undefined
  /** Up to which clock time all partitions of asset readings are read; undefined while one is not known. */
  readonly read: Instant | undefined
  /** Levels of parents above the lowest assets. */
  readonly levels: number
}

/** `partitions`: of the bus; rows of others are of a log that had more. */
export const progressOf = (sql: Sql, partitions: number) =>
  sql
    .unsafe<{
      now: number
      mapped: number | null
      mappings: number
      read: number | null
      reads: number
      levels: number
    }>(
      `with recursive tree as (
        select asset.id, asset.parent_id, 0 as level from assets asset
        where asset.parent_id is not null and not exists (select from assets child where child.parent_id = asset.id)
        union
        select parent.id, parent.parent_id, tree.level + 1 from tree join assets parent on parent.id = tree.parent_id
      )
      select min(${micros("partition_time")}) filter (where "group" = '${Groups.assetMapping}') as mapped,
        count(partition_time) filter (where "group" = '${Groups.assetMapping}')::int as mappings,
        min(${micros("partition_time")}) filter (where "group" = '${READ_GROUP}') as read,
        count(*) filter (where "group" = '${READ_GROUP}')::int as reads,
        (select coalesce(max(level), 0) from tree) as levels, ${micros("clock_timestamp()")} as now
      from consumer_offsets
      where partition < $1::int
        and (("group" = '${Groups.assetMapping}' and topic = '${Topics.normalized}') or "group" = '${READ_GROUP}')`,
      [partitions]
    )
    .pipe(
      Effect.map(([row]): Progress => ({
        now: row!.now,
        levels: row!.levels,
        mapped: row!.mappings < partitions ? undefined : (row!.mapped ?? undefined),
        read: row!.reads < partitions ? undefined : (row!.read ?? undefined)
      })),
      unavailable
    )

/** Undefined while nothing is known. */
export const settledTime = (sql: Sql): Effect.Effect<Instant | undefined, DatabaseUnavailable> =>
  sql
    .unsafe<{ time: number }>(
      `select ${micros("partition_time")} as time from consumer_offsets where "group" = '${SETTLED_GROUP}'`
    )
    .pipe(
      Effect.map(([row]) => row?.time),
      unavailable
    )

/** A time of the mapping on its way through the rounds. */
export interface Candidate {
  readonly time: Instant
  readonly since: Instant
  readonly round: number
}

const MOST = 30

/** The candidates after another look, and the time that has come through all of its rounds. */
export const nextRound = (candidates: ReadonlyArray<Candidate>, { levels, mapped, now, read }: Progress) => {
  let settled: Instant | undefined
  const on: Array<Candidate> = []
  for (const one of candidates) {
    if (read === undefined || read < one.since) on.push(one)
    else if (one.round >= levels) settled = Math.max(settled ?? 0, one.time)
    else on.push({ time: one.time, since: now, round: one.round + 1 })
  }
  const isNew = mapped !== undefined && mapped > (on.at(-1)?.time ?? settled ?? -Infinity)
  if (isNew && on.length < MOST) on.push({ time: mapped, since: now, round: 0 })
  return { candidates: on, settled }
}
