/**
 * One round of care for a partitioned telemetry table: partitions ahead of their time, rows that wait outside moved into
 * partitions of their own, expired partitions dropped.
 * @module
 */
import * as Partitions from "@argusiq/layers/database/partitions.ts"
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { expiredPartitions, type Limits } from "./retention.ts"

/** What a round did; names of partitions, numbers of rows. */
export interface Care {
  readonly made: ReadonlyArray<string>
  readonly movedRows: number
  readonly dropped: ReadonlyArray<string>
  readonly removedOutside: number
}

/** The first instant that is kept begins a partition, or what retention has dropped would be made again. */
export const oldestKept = (table: Partitions.PartitionedTable, { keep }: Limits, now: number): number =>
  Partitions.partitionAt(table, now - keep).from

/** `now` in epoch milliseconds. */
export const careFor = Effect.fn("partitionCare.careFor")(function* (
  sql: SqlClient.SqlClient,
  table: Partitions.PartitionedTable,
  limits: Limits,
  now: number
) {
  const made = yield* Partitions.makeAhead(sql, table, now)
  const dropped: Array<string> = []
  for (const partition of expiredPartitions(yield* Partitions.listPartitions(sql, table), limits, now)) {
    yield* Partitions.dropPartition(sql, partition)
    dropped.push(partition.name)
  }
  const from = oldestKept(table, limits, now)
  const removedOutside = yield* Partitions.removeOutside(sql, table, from)
  const awaited = yield* Partitions.awaitedPartitions(sql, table, { from, to: now })
  let movedRows = 0
  for (const partition of awaited) {
    const moved = yield* Partitions.makePartition(sql, table, partition.from)
    if (moved === undefined) continue
    made.push(partition.name)
    movedRows += moved
  }
  return { made, movedRows, dropped, removedOutside } satisfies Care
})
