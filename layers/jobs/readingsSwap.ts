/**
 * Readings of some messages in place of those that the same messages gave before: frames, latest values and counts together, in
 * the transaction that the fiber is in. Rollups follow by the marks that frames leave.
 *
 * Writers of live readings go on meanwhile. Both take the rows of `entity_latest` in the order of entities, then those of
 * `device_status`; a writer that waits for one merges what it brings into what it finds here, and what one has stored is seen
 * by the statements that follow the lock.
 * @module
 */
import { type DatabaseUnavailable, type Poison } from "@argusiq/domain/errors.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { type NormalizedMessage } from "@argusiq/domain/readings.ts"
import { type Context, Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { type SqlError } from "effect/sql/SqlError"
import { mergedLatest } from "../telemetry/latestStatement.ts"
import { type TelemetryStore } from "../telemetry/TelemetryStore.ts"
import { bigintegers, instants, integers, texts, uuids } from "../telemetry/columns.ts"

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

const micros = (column: string) => `(extract(epoch from ${column}) * 1000000)::bigint`

/** Null where nothing is held. */
const newestOf = (latest: string) => micros(`nullif(${latest}.newest_ts, '-infinity')`)

const frameColumns = `entity_id::text as entity, ${micros("ts")} as ts, reading_id::text as reading, message_id::text as message,
  source_device_id::text as source`

const framesStatement = `
  select ${frameColumns} from telemetry_frames
  where tenant_id = $1::uuid and received_at between ($2::timestamptz[])[1] and ($2::timestamptz[])[2]
    and message_id in (select unnest($3::uuid[]))`
const framesOfEntitiesStatement = `${framesStatement} and entity_id = any($4::uuid[])`

const framesOfWholesStatement = `
  select ${frameColumns} from telemetry_frames
  where tenant_id = $1::uuid and received_at between ($2::timestamptz[])[1] and ($2::timestamptz[])[2]
    and (source_device_id, received_at) in (select * from unnest($3::uuid[], $4::timestamptz[]))`

const lockStatement = `
  select from entity_latest where entity_id = any($1::uuid[]) order by entity_id for update`

/**
 * The metrics whose latest value is as old as one of these frames, that went or came: it may be a value that is gone, or one of
 * several at the same instant. The frames tell anew.
 */
const lostStatement = `
  select latest.entity_id::text as entity, array_agg(distinct key) as keys
  from unnest($1::uuid[], $2::bigint[]) touched (entity_id, ts)
  join entity_latest latest on latest.entity_id = touched.entity_id
  cross join lateral jsonb_object_keys(latest.metrics) key
  where (latest.older is not null or touched.ts = ${newestOf("latest")})
    and touched.ts = coalesce((latest.older ->> key)::bigint, ${newestOf("latest")})
  group by latest.entity_id`

/** Without these metrics; what is left may be nothing, older than everything. */
const forgetStatement = `
  update entity_latest latest set metrics = kept.metrics, newest_ts = kept.newest, older = kept.older,
    quality = nullif(latest.quality - lost.keys, '{}'), keys_hash = null
  from (
    select entity_id, array_agg(key) as keys from unnest($1::uuid[], $2::text[]) lost (entity_id, key) group by entity_id
  ) lost
  cross join lateral (
    select coalesce(jsonb_object_agg(key, value), '{}') as metrics,
      coalesce(timestamptz 'epoch' + max(ts) * interval '1 microsecond', '-infinity') as newest,
      jsonb_object_agg(key, ts) filter (where ts < newest) as older
    from (
      select key, value, ts, max(ts) over () as newest from (
        select key, value, coalesce((held.older ->> key)::bigint, ${newestOf("held")}) as ts
        from entity_latest held cross join lateral jsonb_each(held.metrics)
        where held.entity_id = lost.entity_id and key <> all(lost.keys)
      ) metric
    ) metric
  ) kept
  where latest.entity_id = lost.entity_id`

const deleteStatement = `
  delete from telemetry_frames frame using unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) gone (entity_id, ts, reading_id)
  where frame.entity_id = gone.entity_id and frame.ts = gone.ts and frame.reading_id = gone.reading_id`

/** A message is counted again when its new readings are stored. */
const uncountStatement = `
  update device_status status set messages_total = greatest(0, messages_total - gone.messages)
  from (
    select status.device_id, gone.messages from device_status status
    join unnest($1::uuid[], $2::int[]) gone (device_id, messages) on gone.device_id = status.device_id
    order by status.device_id for update of status
  ) gone
  where status.device_id = gone.device_id`

/** May count as latest: within 60 s ahead of received-at, and within what the version of the device's type allows. */
const mayBeLatest = `
  frame.ts - frame.received_at <= interval '60 seconds' and (
    select extract(epoch from frame.ts - frame.received_at)
      between -coalesce((version.config #>> '{timestamp,maxBehindSeconds}')::float8, 31536000)
      and coalesce((version.config #>> '{timestamp,maxAheadSeconds}')::float8, 60)
    from devices device join device_type_versions version
      on version.device_type_id = device.device_type_id and version.number = frame.config_version
    where device.id = frame.entity_id) is not false`

/**
 * The newest frame that holds each lost metric. Of several at one instant the one that was received first; of several of one
 * message the first of its entries, which only a frame stored just now tells.
 */
const findStatement = `
  with found as (
    select lost.entity_id, lost.key, newest.tenant_id, newest.value, newest.quality, newest.ts
    from unnest($1::uuid[], $2::text[]) lost (entity_id, key)
    cross join lateral (
      select frame.ts from telemetry_frames frame
      where frame.entity_id = lost.entity_id and jsonb_exists(frame.metrics, lost.key) and ${mayBeLatest}
      order by frame.ts desc limit 1
    ) latest
    cross join lateral (
      select frame.tenant_id, frame.metrics -> lost.key as value, frame.quality -> lost.key as quality, frame.ts
      from telemetry_frames frame
      where frame.entity_id = lost.entity_id and frame.ts = latest.ts and jsonb_exists(frame.metrics, lost.key)
        and ${mayBeLatest}
      order by frame.received_at, frame.message_id, array_position($3::uuid[], frame.reading_id), frame.reading_id
      limit 1
    ) newest
  ), ranked as (
    select *, max(ts) over (partition by entity_id) as newest from found
  )
  insert into entity_latest (entity_id, entity_type, tenant_id, metrics, newest_ts, older, quality, keys_hash, updated_at)
  select entity_id, 'device', tenant_id, jsonb_object_agg(key, value), newest,
    jsonb_object_agg(key, ${micros("ts")}) filter (where ts < newest),
    jsonb_object_agg(key, quality) filter (where quality is not null), null, now()
  from ranked group by entity_id, tenant_id, newest order by entity_id
  on conflict (entity_id) do update set
    (metrics, newest_ts, older, quality, keys_hash, updated_at) = (${mergedLatest})`

const clearStatement = `
  delete from entity_latest where entity_id = any($1::uuid[]) and metrics = '{}' and newest_ts = '-infinity'`

const entitiesOf = (frames: ReadonlyArray<FrameRow>, messages: ReadonlyArray<NormalizedMessage>) => [
  ...new Set([
    ...frames.map(({ entity }) => entity),
    ...messages.flatMap(({ readings }) => readings.map(({ deviceId }) => deviceId as string))
  ])
]

/** How many messages each entity loses, and each gateway. */
const countsOf = (frames: ReadonlyArray<FrameRow>) => {
  const messages = new Map<string, Set<string>>()
  for (const { entity, message, source } of frames) {
    for (const id of new Set([entity, source])) messages.set(id, (messages.get(id) ?? new Set()).add(message))
  }
  return [...messages].map(([id, ofId]) => [id, ofId.size] as const)
}

type Sql = SqlClient.SqlClient
type Store = Context.Service.Shape<typeof TelemetryStore>

const framesOf = Effect.fnUntraced(function* (sql: Sql, tenantId: string, replaced: Replaced) {
  const { entities, first, last, messageIds, wholes } = replaced
  const span = instants([first, last])
  const given = [tenantId, span, uuids(messageIds)]
  const frames = yield* entities === undefined
    ? sql.unsafe<FrameRow>(framesStatement, given)
    : sql.unsafe<FrameRow>(framesOfEntitiesStatement, [...given, uuids(entities)])
  if (wholes.length === 0) return frames
  const ofWholes = yield* sql.unsafe<FrameRow>(framesOfWholesStatement, [
    tenantId,
    span,
    uuids(wholes.map(({ gatewayId }) => gatewayId)),
    instants(wholes.map(({ receivedAt }) => receivedAt))
  ])
  return [...new Map([...frames, ...ofWholes].map((frame) => [frame.reading + frame.ts, frame])).values()]
})

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
  const entities = entitiesOf(frames, messages)
  if (entities.length === 0) return
  const ids = uuids(entities)
  yield* sql.unsafe(lockStatement, [ids])
  if (frames.length > 0) {
    const counts = countsOf(frames)
    yield* sql.unsafe(deleteStatement, [
      uuids(frames.map(({ entity }) => entity)),
      instants(frames.map(({ ts }) => Number(ts))),
      uuids(frames.map(({ reading }) => reading))
    ])
    yield* sql.unsafe(uncountStatement, [
      uuids(counts.map(([entity]) => entity)),
      integers(counts.map(([, messages]) => messages))
    ])
  }
  yield* store.storeReadings(messages)
  const readings = messages.flatMap((message) => message.readings)
  const lost = yield* sql.unsafe<{ entity: string; keys: ReadonlyArray<string> }>(lostStatement, [
    uuids([...frames.map(({ entity }) => entity), ...readings.map(({ deviceId }) => deviceId as string)]),
    bigintegers([...frames.map(({ ts }) => ts), ...readings.map(({ ts }) => BigInt(ts))])
  ])
  if (lost.length === 0) return
  const lostMetrics = lost.flatMap(({ entity, keys }) => keys.map((key) => ({ entity, key })))
  const lostColumns = [uuids(lostMetrics.map(({ entity }) => entity)), texts(lostMetrics.map(({ key }) => key))]
  yield* sql.unsafe(forgetStatement, lostColumns)
  yield* sql.unsafe(findStatement, [...lostColumns, uuids(readings.map(({ readingId }) => readingId as string))])
  yield* sql.unsafe(clearStatement, [ids])
})
