/**
 * Readings of some messages in place of those that the same messages gave before: frames, latest values and counts together, in
 * the transaction that the fiber is in. Rollups follow by the marks that frames leave.
 *
 * Writers of live readings go on meanwhile. Both take the rows of `entity_latest` in the order of entities, then those of
 * `device_status`; a writer that waits for one merges what it brings into what it finds here, and what one has stored is seen
 * by the statements that follow the lock. Entities whose latest values are all of a later time are not locked: live writers only
 * add to what is held there. Nor are those that lose as many messages as they gain. So old messages and live ones do not wait for
 * one another.
 * @module
 */
import { type DatabaseUnavailable, type Poison } from "@argusiq/domain/errors.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { type NormalizedMessage } from "@argusiq/domain/readings.ts"
import { isGatewayMessage } from "@argusiq/domain/transactions.ts"
import { type Context, Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { type SqlError } from "effect/sql/SqlError"
import { type TelemetryStore } from "../telemetry/TelemetryStore.ts"
import { bigintegers, instants, integers, texts, uuids } from "../telemetry/columns.ts"
import * as statements from "./swapStatements.ts"

/** Which messages' frames go. */
export interface Replaced {
  readonly messageIds: ReadonlyArray<string>
  /** Undefined: frames of any may be theirs. */
  readonly entities: ReadonlyArray<string> | undefined
  /** Of messages that came in chunks: by gateway and received-at, since the id of the whole depends on what came before it. */
  readonly wholes: ReadonlyArray<{ readonly gatewayId: string; readonly receivedAt: Instant }>
  /** Received-at of the first and the last of these messages. */
  readonly first: Instant
  readonly last: Instant
}

interface FrameRow {
  readonly entity: string
  readonly ts: bigint // epoch microseconds
  readonly reading: string
  readonly message: string
  readonly source: string // the sending device: of a child its gateway
}

/** Of how many messages frames are, by entity, and by gateway. */
const countsOf = (frames: Iterable<Pick<FrameRow, "entity" | "message" | "source">>): ReadonlyMap<string, number> => {
  const messages = new Map<string, Set<string>>()
  for (const { entity, message, source } of frames) {
    for (const id of new Set([entity, source])) messages.set(id, (messages.get(id) ?? new Set()).add(message))
  }
  return new Map(Array.from(messages, ([id, ofId]) => [id, ofId.size]))
}

/** Entities that are in as many messages as before; those of gateways' messages, which have transactions to end, are not told. */
const unchangedOf = (
  before: ReadonlyMap<string, number>,
  messages: ReadonlyArray<NormalizedMessage>
): ReadonlySet<string> => {
  if (messages.some(isGatewayMessage)) return new Set()
  const frames = messages.flatMap(({ messageId, readings }) =>
    readings.map(({ deviceId, sourceGatewayId }) => ({
      entity: deviceId,
      message: messageId,
      source: sourceGatewayId ?? deviceId
    }))
  )
  const after = countsOf(frames)
  return new Set(after.keys().filter((id) => after.get(id) === before.get(id)))
}

type Sql = SqlClient.SqlClient
type Store = Context.Service.Shape<typeof TelemetryStore>

const framesOf = Effect.fnUntraced(function* (sql: Sql, tenantId: string, replaced: Replaced) {
  const { entities, first, last, messageIds, wholes } = replaced
  const span = instants([first, last])
  const given = [tenantId, span, uuids(messageIds)]
  const frames = yield* entities === undefined
    ? sql.unsafe<FrameRow>(statements.framesStatement, given)
    : sql.unsafe<FrameRow>(statements.framesOfEntitiesStatement, [...given, uuids(entities)])
  if (wholes.length === 0) return frames
  const ofWholes = yield* sql.unsafe<FrameRow>(statements.framesOfWholesStatement, [
    tenantId,
    span,
    uuids(wholes.map(({ gatewayId }) => gatewayId)),
    instants(wholes.map(({ receivedAt }) => receivedAt))
  ])
  return [...new Map([...frames, ...ofWholes].map((frame) => [frame.reading + frame.ts, frame])).values()]
})

interface Touched {
  /** Of its last frame that goes or comes. */
  ts: bigint
  /** The names of the metrics that come, each once. */
  readonly keys: Record<string, null>
}

const touchedBy = (frames: ReadonlyArray<FrameRow>, messages: ReadonlyArray<NormalizedMessage>) => {
  const touched = new Map<string, Touched>()
  const touch = (entity: string, ts: bigint): Touched => {
    const known = touched.get(entity)
    if (known === undefined) {
      const first: Touched = { ts, keys: Object.create(null) }
      touched.set(entity, first)
      return first
    }
    if (ts > known.ts) known.ts = ts
    return known
  }
  for (const { entity, ts } of frames) touch(entity, ts)
  for (const { readings } of messages) {
    for (const { deviceId, metrics, ts } of readings) {
      const { keys } = touch(deviceId, BigInt(ts))
      for (const key in metrics) keys[key] = null
    }
  }
  return touched
}

/** Entities whose latest values these frames and messages do not concern; that stays so, since writers only add newer ones. */
const settledOf = Effect.fnUntraced(function* (sql: Sql, touched: ReadonlyMap<string, Touched>) {
  const all = [...touched]
  const rows = yield* sql.unsafe<{ entity: string }>(statements.settledStatement, [
    uuids(all.map(([entity]) => entity)),
    bigintegers(all.map(([, { ts }]) => ts)),
    texts(all.map(([, { keys }]) => JSON.stringify(keys)))
  ])
  return new Set(rows.map(({ entity }) => entity))
})

/** Whose counts are locked, in order, when the messages are stored. */
const countedBy = (messages: ReadonlyArray<NormalizedMessage>): ReadonlySet<string> =>
  new Set(
    messages.flatMap((message) => [
      ...message.readings.map(({ deviceId }) => deviceId as string),
      ...(isGatewayMessage(message) ? [message.deviceId as string] : [])
    ])
  )

/**
 * Puts the messages' readings, given in the order of received-at, in place of the frames of `replaced`. In a transaction of the
 * caller's; what it locks is free again when that ends.
 */
export const swapReadings = Effect.fn("swapReadings")(function* (
  sql: Sql,
  store: Store,
  tenantId: string,
  replaced: Replaced,
  messages: ReadonlyArray<NormalizedMessage>
): Effect.fn.Return<void, SqlError | DatabaseUnavailable | Poison> {
  const frames = yield* framesOf(sql, tenantId, replaced)
  const touched = touchedBy(frames, messages)
  const settled = touched.size === 0 ? new Set<string>() : yield* settledOf(sql, touched)
  const moving = [...touched.keys()].filter((entity) => !settled.has(entity))
  if (moving.length > 0) yield* sql.unsafe(statements.lockStatement, [uuids(moving)])
  if (frames.length > 0) {
    yield* sql.unsafe(statements.deleteStatement, [
      uuids(frames.map(({ entity }) => entity)),
      instants(frames.map(({ ts }) => Number(ts))),
      uuids(frames.map(({ reading }) => reading))
    ])
  }
  const before = countsOf(frames)
  const unchanged = unchangedOf(before, messages)
  const counts = [...before].filter(([entity]) => !unchanged.has(entity))
  const counted = [...countedBy(messages)].filter((id) => !unchanged.has(id))
  // Before the others are locked, or two writers could wait for one another.
  const everyone = new Set([...counted, ...counts.map(([entity]) => entity)])
  if (everyone.size > counted.length) yield* sql.unsafe(statements.lockCountsStatement, [uuids([...everyone])])
  yield* store.storeReadings(messages, { settled, counted: unchanged })
  if (counts.length > 0) {
    yield* sql.unsafe(statements.uncountStatement, [
      uuids(counts.map(([entity]) => entity)),
      integers(counts.map(([, messages]) => messages))
    ])
  }
  if (moving.length > 0) yield* findLatest(sql, moving, frames, messages)
})

/** The metrics of these entities whose latest value may be gone or another one, from the frames anew. */
const findLatest = Effect.fnUntraced(function* (
  sql: Sql,
  entities: ReadonlyArray<string>,
  frames: ReadonlyArray<FrameRow>,
  messages: ReadonlyArray<NormalizedMessage>
) {
  const isMoving = new Set(entities)
  const gone = frames.filter(({ entity }) => isMoving.has(entity))
  const readings = messages.flatMap((message) => message.readings.filter(({ deviceId }) => isMoving.has(deviceId)))
  const lost = yield* sql.unsafe<{ entity: string; keys: ReadonlyArray<string> }>(statements.lostStatement, [
    uuids([...gone.map(({ entity }) => entity), ...readings.map(({ deviceId }) => deviceId as string)]),
    bigintegers([...gone.map(({ ts }) => ts), ...readings.map(({ ts }) => BigInt(ts))])
  ])
  if (lost.length === 0) return
  const lostMetrics = lost.flatMap(({ entity, keys }) => keys.map((key) => ({ entity, key })))
  const lostColumns = [uuids(lostMetrics.map(({ entity }) => entity)), texts(lostMetrics.map(({ key }) => key))]
  yield* sql.unsafe(statements.forgetStatement, lostColumns)
  yield* sql.unsafe(statements.findStatement, [
    ...lostColumns,
    uuids(readings.map(({ readingId }) => readingId as string))
  ])
  yield* sql.unsafe(statements.clearStatement, [uuids(entities)])
})
