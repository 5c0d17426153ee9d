/**
 * How far those are whose rows a rebuild replaces, and whether what they have taken in is stored.
 * @module
 */
import { Groups } from "@argusiq/domain/pipeline.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { type Context, Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import type { Bus } from "../bus/Bus.ts"

type Sql = SqlClient.SqlClient

const micros = (column: string) => `(extract(epoch from ${column}) * 1000000)::float8`

type LogBus = Context.Service.Shape<typeof Bus>

/** Of each partition of device readings the next offset; none: not known. */
export type Positions = ReadonlyMap<number, bigint>

const positionsOf = (sql: Sql, logId: string, group: string): Effect.Effect<Positions, SqlError> =>
  sql<{ partition: number; next: bigint }>`select partition, next from consumer_offsets
    where "group" = ${group} and topic = ${Topics.normalized} and next is not null and log_id = ${logId}`.pipe(
    Effect.map((rows) => new Map(rows.map(({ next, partition }) => [partition, next])))
  )

/** Up to where those have come who fold device readings, or hand them on to be folded. */
export const foldedUpTo = Effect.fnUntraced(function* (sql: Sql, bus: LogBus) {
  const folded = new Map(yield* positionsOf(sql, bus.logId, Groups.deviceRules))
  for (const { offset, partition } of yield* bus.lag(Groups.assetMapping)) {
    if ((folded.get(partition) ?? -1n) < offset) folded.set(partition, offset)
  }
  return folded as Positions
})

/** Whether all readings before these positions are stored. */
export const isStored = (sql: Sql, bus: LogBus, positions: Positions) =>
  Effect.map(positionsOf(sql, bus.logId, Groups.telemetryWriter), (stored) =>
    [...positions].every(([partition, offset]) => (stored.get(partition) ?? 0n) >= offset)
  )

/** The time of a partition of a group; undefined while it has none. */
export const timeOf = (sql: Sql, group: string, topic: string, partition: number) =>
  sql
    .unsafe<{ time: number | null }>(
      `select ${micros("partition_time")} as time from consumer_offsets
      where "group" = $1 and topic = $2 and partition = $3 and partition_time > 'epoch'`,
      [group, topic, partition]
    )
    .pipe(Effect.map(([row]) => row?.time ?? undefined))
