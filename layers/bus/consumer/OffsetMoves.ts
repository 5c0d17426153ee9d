/**
 * The move of a group's offset in a partition past what has been processed, first in the transaction of the rows.
 * @module
 */
import { Fenced } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { isUuid } from "@argusiq/domain/uuid.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { isSqlError, type SqlError } from "effect/sql/SqlError"
import { sqlState } from "../../database/errors.ts"
import type { StoredRecord } from "../Bus.ts"
import type { Owned } from "./Offsets.ts"

type Sql = SqlClient.SqlClient

export interface Move extends Owned {
  readonly from: bigint
  readonly to: bigint
  /** The record before `to`; absent when only time moves. */
  readonly last: StoredRecord | undefined
  readonly time: Instant
}

const messageIdOf = ({ last }: Move): string | null => {
  const messageId = last?.headers["message-id"]
  return messageId !== undefined && isUuid(messageId) ? messageId : null
}

const movement = (
  sql: Sql,
  given: Move,
  /** {@link SafeguardSwitches.conditionalOffsets} */
  conditional: boolean
) => {
  const { group, topic, partition, epoch, from, to, last, time } = given
  const isOurs = conditional
    ? sql`epoch = ${String(epoch)}::bigint and next = ${String(from)}::bigint`
    : sql.literal("true")
  return sql`
    update consumer_offsets set next = ${String(to)}::bigint,
      last_message_id = case when ${last === undefined} then last_message_id else ${messageIdOf(given)}::uuid end,
      partition_time = greatest(partition_time,
        timestamptz 'epoch' + nullif(${String(time)}::bigint, 0) * interval '1 microsecond')
    where "group" = ${group} and topic = ${topic} and partition = ${partition} and ${isOurs}`
}

/**
 * Moves the offset on condition that nobody else did and that the partition is still ours. First in its transaction, which
 * it makes asynchronous: rows and offset are lost together or not at all, so a crash of the machine only repeats batches.
 * It holds the offset's row, so a zombie is refused before it writes anything.
 */
export const move = (sql: Sql, given: Move, conditional: boolean) =>
  Effect.flatMap(
    sql`${movement(sql, given, conditional)} returning set_config('synchronous_commit', 'off', true)`,
    (rows) => (rows.length === 1 ? Effect.void : moveBefore(sql, given))
  )

/** The same as a statement that fails where nothing was moved: it divides by the number of rows. */
export const moveOrFail = (sql: Sql, given: Move, conditional: boolean) => sql`
  with moved as (${movement(sql, given, conditional)} returning 1)
  select 1 / count(*), set_config('synchronous_commit', 'off', true) from moved`

/** Several of a group at once: all of them or none. Locked in the order in which `takeOver` locks them. */
export const moveAllOrFail = (sql: Sql, moves: ReadonlyArray<Move>) => {
  const [first, ...others] = moves
  if (first !== undefined && others.length === 0) return moveOrFail(sql, first, true)
  const texts = (of: (move: Move) => bigint | number) => moves.map((move) => String(of(move)))
  return sql`
    with wanted as (
      select held.topic, held.partition, wanted."to", wanted.is_read, wanted.message_id, wanted.time
      from consumer_offsets held
      join unnest(${moves.map(({ topic }) => topic)}::text[], ${moves.map(({ partition }) => partition)}::int[],
          ${texts(({ epoch }) => epoch)}::text[]::bigint[], ${texts(({ from }) => from)}::text[]::bigint[],
          ${texts(({ to }) => to)}::text[]::bigint[], ${moves.map(({ last }) => last !== undefined)}::boolean[],
          ${moves.map(messageIdOf)}::text[]::uuid[], ${texts(({ time }) => time)}::text[]::bigint[])
        as wanted (topic, partition, epoch, "from", "to", is_read, message_id, time) using (topic, partition)
      where held."group" = ${first!.group} and held.epoch = wanted.epoch and held.next = wanted."from"
      order by held.topic, held.partition
      for update of held
    ), moved as (
      update consumer_offsets held set next = wanted."to",
        last_message_id = case when wanted.is_read then wanted.message_id else held.last_message_id end,
        partition_time = greatest(held.partition_time,
          timestamptz 'epoch' + nullif(wanted.time, 0) * interval '1 microsecond')
      from wanted
      where held."group" = ${first!.group} and held.topic = wanted.topic and held.partition = wanted.partition
      returning 1
    )
    select 1 / (count(*) = ${moves.length})::int, set_config('synchronous_commit', 'off', true) from moved`
}

/** Of {@link moveOrFail}: the offset is not as it has to be. */
export const isNotMoved = (error: unknown): error is SqlError => isSqlError(error) && sqlState(error) === "22012"

/** Succeeds where this very call has moved the offset before, in a transaction whose commit was not answered. */
export const moveBefore = (sql: Sql, { group, topic, partition, epoch, from, to }: Move) =>
  Effect.flatMap(
    sql`
      select from consumer_offsets
      where "group" = ${group} and topic = ${topic} and partition = ${partition} and epoch = ${String(epoch)}::bigint
        and next = ${String(to)}::bigint`,
    (already): Effect.Effect<void, Fenced> =>
      already.length === 1 && to !== from ? Effect.void : Effect.fail(new Fenced({ group, topic, partition }))
  )
