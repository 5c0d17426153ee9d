/**
 * Partitions of the telemetry tables, and of the audit log, by time. They are made ahead of their time; a row whose partition does not exist waits
 * in the table's default partition `<table>_outside`, from which making the partition moves it. Retention drops whole
 * partitions.
 * @module
 */
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { isSqlError } from "effect/sql/SqlError"
import { sqlState } from "./errors.ts"

export interface PartitionedTable {
  readonly table: "telemetry_frames" | "telemetry_raw" | "audit_log"
  readonly column: "ts" | "received_at" | "occurred_at"
  /** Milliseconds that one partition covers. */
  readonly span: number
  /** How many partitions after the current one exist ahead of their time. */
  readonly ahead: number
  /** Columns that no query is planned by: ANALYZE leaves them out, which sorts what it has a sample of. */
  readonly unsampled: ReadonlyArray<string>
}

const hour = 3_600_000
const day = 24 * hour

/** By the time of measurement, in weeks from Monday (UTC). */
export const framesTable: PartitionedTable = {
  table: "telemetry_frames",
  column: "ts",
  span: 7 * day,
  ahead: 2,
  unsampled: ["metrics", "quality", "metadata"]
}
/** By the time of receipt, in quarters of a day: the byte cap frees space one partition at a time. */
export const rawTable: PartitionedTable = {
  table: "telemetry_raw",
  column: "received_at",
  span: 6 * hour,
  ahead: 8,
  unsampled: ["payload"]
}
/** By the time of the change, in four weeks. */
export const auditTable: PartitionedTable = {
  table: "audit_log",
  column: "occurred_at",
  span: 28 * day,
  ahead: 1,
  unsampled: []
}

/** A Monday, so that weeks begin on one. */
const origin = Date.UTC(1970, 0, 5)

/** Half open, in epoch milliseconds. */
export interface Partition {
  readonly name: string
  readonly from: number
  readonly to: number
}

/** The partition that covers an instant (epoch milliseconds). */
export const partitionAt = ({ span, table }: PartitionedTable, at: number): Partition => {
  const from = origin + Math.floor((at - origin) / span) * span
  const digits = new Date(from).toISOString().replaceAll(/\D/g, "")
  return { name: `${table}_${span % day === 0 ? digits.slice(0, 8) : digits.slice(0, 10)}`, from, to: from + span }
}

/** The partitions that `makePartition` made, oldest first, with the bytes they take, indexes included. */
export const listPartitions = Effect.fn("partitions.list")(function* (
  sql: SqlClient.SqlClient,
  partitioned: PartitionedTable
) {
  // A bound reads FOR VALUES FROM ('2026-01-19 00:00:00+00') TO ('2026-01-26 00:00:00+00').
  const rows = yield* sql<{ name: string; from: number; bytes: number }>`
    select child.relname::text as name, pg_total_relation_size(child.oid)::float8 as bytes,
      (extract(epoch from split_part(pg_get_expr(child.relpartbound, child.oid), '''', 2)::timestamptz) * 1000)::float8
        as "from"
    from pg_inherits join pg_class child on child.oid = inhrelid
    where inhparent = ${partitioned.table}::text::regclass
      and pg_get_expr(child.relpartbound, child.oid) like 'FOR VALUES FROM (''%'
    order by 3`
  return rows
    .map(({ bytes, from, name }) => ({ name, from, to: from + partitioned.span, bytes }))
    .filter(({ from, name }) => Number.isFinite(from) && partitionAt(partitioned, from).name === name)
})

/**
 * Makes a partition with the rows of its time that wait outside. Writers of the table wait until it is done; none fails and
 * none can slip a row of this time into the default partition. Answers the number of rows moved, undefined when the
 * partition exists already.
 */
export const makePartition = Effect.fn("partitions.make")(function* (
  sql: SqlClient.SqlClient,
  partitioned: PartitionedTable,
  at: number
) {
  const { column, table } = partitioned
  const { from, name, to } = partitionAt(partitioned, at)
  const [lower, upper] = [literal(from), literal(to)]
  return yield* exclusively(
    sql,
    Effect.gen(function* () {
      // The parent first: whoever is about to write has chosen a partition only after this lock. It lets readers pass.
      yield* sql.unsafe(`lock table ${table} in share row exclusive mode`)
      const known = yield* sql<{ known: boolean }>`select to_regclass(${name}) is not null as known`
      if (known[0]?.known === true) return undefined
      yield* sql.unsafe(
        `create table ${name} (like ${table} including defaults including constraints including storage)`
      )
      for (const unsampled of partitioned.unsampled)
        yield* sql.unsafe(`alter table ${name} alter column ${unsampled} set statistics 0`)
      const moved = yield* sql.unsafe<{ count: number }>(
        `with moved as (delete from ${table}_outside where ${column} >= ${lower} and ${column} < ${upper} returning *),
          put as (insert into ${name} select * from moved returning 1) select count(*)::float8 as count from put`
      )
      yield* sql.unsafe(`alter table ${table} attach partition ${name} for values from (${lower}) to (${upper})`)
      return moved[0]?.count ?? 0
    })
  )
})

/** Makes the partition of `now` and those ahead of it. Answers the names of those made. */
export const makeAhead = Effect.fn("partitions.makeAhead")(function* (
  sql: SqlClient.SqlClient,
  partitioned: PartitionedTable,
  now: number
) {
  const made: Array<string> = []
  const existing = new Set((yield* listPartitions(sql, partitioned)).map(({ name }) => name))
  for (let step = 0; step <= partitioned.ahead; step++) {
    const at = now + step * partitioned.span
    const { name } = partitionAt(partitioned, at)
    if (existing.has(name)) continue
    if ((yield* makePartition(sql, partitioned, at)) !== undefined) made.push(name)
  }
  return made
})

/** The partitions that rows in the default partition are waiting for, of those that begin within the bounds. */
export const awaitedPartitions = Effect.fn("partitions.awaited")(function* (
  sql: SqlClient.SqlClient,
  partitioned: PartitionedTable,
  bounds: { readonly from: number; readonly to: number }
) {
  const rows = yield* sql.unsafe<{ from: number }>(
    `select distinct (extract(epoch from date_bin('${partitioned.span} milliseconds', ${partitioned.column},
      ${literal(origin)})) * 1000)::float8 as "from"
      from ${partitioned.table}_outside
      where ${partitioned.column} >= ${literal(bounds.from)} and ${partitioned.column} < ${literal(bounds.to)}
      order by 1`
  )
  return rows.map(({ from }) => partitionAt(partitioned, from))
})

/** Drops a partition with its rows. */
export const dropPartition = Effect.fn("partitions.drop")(function* (sql: SqlClient.SqlClient, partition: Partition) {
  yield* exclusively(sql, sql.unsafe(`drop table if exists ${partition.name}`))
})

/** Removes the rows before an instant that wait outside, where no partition will ever be dropped with them. */
export const removeOutside = Effect.fn("partitions.removeOutside")(function* (
  sql: SqlClient.SqlClient,
  { column, table }: PartitionedTable,
  before: number
) {
  const batch = sql.unsafe<{ count: number }>(
    `with gone as (delete from ${table}_outside where ctid = any(array(
      select ctid from ${table}_outside where ${column} < ${literal(before)} limit 10000)) returning 1)
      select count(*)::float8 as count from gone`
  )
  let removed = 0
  while (true) {
    const count = (yield* batch)[0]?.count ?? 0
    removed += count
    if (count === 0) return removed
  }
})

/**
 * One transaction that needs a table for itself. While it waits for somebody's long statement, others queue behind it: so
 * it gives up after a second, lets them pass, and comes again, up to ten times.
 */
export const exclusively = <A, E, R>(sql: SqlClient.SqlClient, effect: Effect.Effect<A, E, R>) =>
  sql.withTransaction(Effect.andThen(sql.unsafe("set local lock_timeout = '1s'"), effect)).pipe(
    Effect.tapError((error) => (isLockTimeout(error) ? Effect.sleep("1 second") : Effect.void)),
    Effect.retry({ while: isLockTimeout, times: 10 })
  )

const isLockTimeout = (error: unknown): boolean =>
  isSqlError(error) && ["55P03", "40P01"].includes(sqlState(error) ?? "")

/** Partition bounds cannot be parameters; these texts come from numbers. */
const literal = (instant: number): string => `timestamptz '${new Date(instant).toISOString()}'`
