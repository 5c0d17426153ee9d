/**
 * What people do to alarms and events, told to all processes when it is committed. A push is missed by who is not connected to
 * the database at that moment.
 * @module
 */
import { Uuid } from "@argusiq/domain/ids.ts"
import type { PgClient } from "@effect/sql-pg"
import { Effect, Option, Queue, Schema } from "effect"

const CHANNEL = "alarm_marks"

/** `id` is the alarm's or the event's. */
export const Mark = Schema.Struct({ what: Schema.Literals(["alarm", "event"]), id: Uuid, tenantId: Uuid })
export type Mark = typeof Mark.Type

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Mark))

/** In the transaction that the fiber is in: told when that is committed. */
export const pushMark = (sql: PgClient.PgClient, mark: Mark) =>
  Effect.asVoid(sql`select pg_notify(${CHANNEL}, ${JSON.stringify(mark)})`)

/** Calls `marked` until the connection is lost, with which it fails. `listening` runs once nothing is missed any more. */
export const followMarks = Effect.fnUntraced(function* (
  sql: PgClient.PgClient,
  listening: Effect.Effect<void>,
  marked: (mark: Mark) => void
) {
  const pushes = yield* sql.listen(CHANNEL)
  yield* listening
  while (true) {
    const { payload } = yield* Queue.take(pushes)
    const mark = Option.getOrUndefined(decode(payload))
    if (mark !== undefined) marked(mark)
  }
}, Effect.scoped)
