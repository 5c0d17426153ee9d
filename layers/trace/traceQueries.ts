/**
 * What is stored of a message, as rows. Every statement is bounded in time by when the message was received, so that it looks
 * into few partitions; none needs an index by message id on the frames, which their writer would pay for.
 * @module
 */
import { type MessageTrace } from "@argusiq/domain/http/messages.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { uuidV7Instant } from "@argusiq/domain/uuid.ts"
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { type Fragment } from "effect/sql/Statement"
import { type DeadLetterRow } from "../dead-letters/deadLetterRow.ts"
import { instants, uuids } from "../telemetry/columns.ts"
import { type TransactionRow, transactionColumns } from "../telemetry/TransactionList.ts"

type Sql = SqlClient.SqlClient

export const MOST_READINGS = 500
const MOST_ROWS = 200
const MILLI = 1_000
const HOUR = 3_600_000_000
const DAY = 24 * HOUR

const micros = (column: string) => `(extract(epoch from ${column}) * 1000000)::float8`

export interface RawRow {
  readonly message_id: string
  readonly device_id: string | null
  readonly received: number
  readonly payload: Uint8Array
  readonly size: number
  readonly content_type: string
  readonly ingestion_source: string
  readonly mqtt_topic: string | null
  readonly client_id: string | null
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
}

const rawColumns = (sql: Sql) =>
  sql.literal(`raw.message_id, raw.device_id, ${micros("raw.received_at")} as received, raw.payload, raw.size, raw.content_type,
    raw.ingestion_source, raw.mqtt_topic, raw.client_id, raw.topic, raw.partition, raw."offset"`)

const isV7 = (id: string) => id[14] === "7"

/** The audit copy. The bridge's ids tell when the message was received, to the millisecond. */
export const rawCopy = (sql: Sql, id: string) => {
  const at = uuidV7Instant(id)
  const received = isV7(id)
    ? sql`and raw.received_at >= (${instants([at])})[1] and raw.received_at < (${instants([at + MILLI])})[1]`
    : sql.literal("")
  return sql<RawRow>`select ${rawColumns(sql)} from telemetry_raw raw where raw.message_id = ${id}::uuid ${received} limit 1`
}

export interface RouteRow {
  readonly device_type_id: string
  readonly number: number
  readonly config: object
}

/** The version of the device's type that applies to what is received then. */
export const routeOf = (sql: Sql, deviceId: string, at: Instant) => sql<RouteRow>`
  select version.device_type_id, version.number, version.config
  from devices device join device_type_versions version on version.device_type_id = device.device_type_id
  where device.id = ${deviceId}::uuid and version.state = 'published'
  order by version.effective_at <= (${instants([at])})[1] desc,
    case when version.effective_at <= (${instants([at])})[1] then version.number end desc nulls last, version.number
  limit 1`

export const transactionById = (sql: Sql, ids: ReadonlyArray<string>) => sql<
  TransactionRow & { readonly from: number; readonly until: number }
>`
  select ${sql.literal(transactionColumns)}, '' as sorted, ${sql.literal(micros("item.started_at"))} as "from",
    ${sql.literal(micros("coalesce(item.completed_at, now())"))} as until
  from telemetry_transactions item where item.id = any(${uuids(ids)}) order by item.generation desc limit 1`

/** What the device sent within a span, payloads included: the chunks of a message among them. */
export const sentWithin = (sql: Sql, deviceId: string, from: Instant, to: Instant) => sql<RawRow>`
  select ${rawColumns(sql)} from telemetry_raw raw
  where raw.device_id = ${deviceId}::uuid and raw.received_at >= (${instants([from])})[1]
    and raw.received_at <= (${instants([to])})[1] and raw.error is null
  order by raw.received_at limit ${MOST_ROWS}`

/** The same bytes from the same device, sent before within a day: the latest. */
export const sentBefore = (sql: Sql, { device_id, message_id, received }: RawRow) => sql<RawRow>`
  select ${rawColumns(sql)} from telemetry_raw raw
  join telemetry_raw this on this.message_id = ${message_id}::uuid and this.received_at = (${instants([received])})[1]
  where raw.device_id = ${device_id}::uuid and raw.received_at >= (${instants([received - DAY])})[1]
    and raw.received_at < (${instants([received])})[1] and raw.size = this.size and raw.payload = this.payload
    and raw.error is null
  order by raw.received_at desc limit 1`

export interface FrameRow {
  readonly entity_id: string
  readonly at: number
  readonly reading_id: string
  readonly config_version: number
  readonly metrics: MessageTrace["readings"][number]["metrics"]
  readonly quality: MessageTrace["readings"][number]["quality"]
  readonly late: boolean
}

const frameColumns = `frame.reading_id, frame.config_version, frame.metrics, frame.quality, frame.late`

/** Of one message, received within a span; `further`: what else bounds the rows that are looked at. */
const framesWhere = (sql: Sql, messageId: string, from: Instant, to: Instant, further: Fragment) => sql<
  FrameRow & { readonly total: number }
>`
  select frame.entity_id, ${sql.literal(micros("frame.ts"))} as at, ${sql.literal(frameColumns)}, count(*) over ()::int as total
  from telemetry_frames frame
  where frame.received_at >= (${instants([from])})[1] and frame.received_at <= (${instants([to])})[1]
    and frame.message_id = ${messageId}::uuid and frame.entity_type = 'device' and ${further}
  order by frame.entity_id, frame.ts, frame.reading_id limit ${MOST_READINGS}`

export interface Sought {
  readonly messageId: string
  readonly from: Instant // received-at
  readonly to: Instant
  /** Whose readings they are; undefined: those of a gateway's children. */
  readonly deviceId: string | undefined
  /** Devices of which readings must be found before the search may end early. */
  readonly devices: number
}

/**
 * The readings of devices that came of a message. Most were measured when it was received, and are found by device and time;
 * else by the block-range index of when they were received, in the weeks around that first and then in all partitions.
 */
export const framesOf = Effect.fnUntraced(function* (sql: Sql, { deviceId, devices, from, messageId, to }: Sought) {
  const measured = (earliest: Instant, latest: Instant) =>
    sql`frame.ts >= (${instants([earliest])})[1] and frame.ts <= (${instants([latest])})[1]`
  if (deviceId !== undefined) {
    const own = sql`frame.entity_id = ${deviceId}::uuid and ${measured(from - HOUR, to + HOUR / 12)}`
    const found = yield* framesWhere(sql, messageId, from, to, own)
    if (found.length > 0) return found
  }
  const around = yield* framesWhere(sql, messageId, from, to, measured(from - 7 * DAY, to + DAY))
  if (around.length > 0 && new Set(around.map(({ entity_id }) => entity_id)).size >= devices) return around
  return yield* framesWhere(sql, messageId, from, to, sql.literal("true"))
})

export interface AssetRow {
  readonly asset_id: string
  readonly name: string
  readonly at: number
  readonly reading_id: string | null
  readonly config_version: number
  readonly metrics: FrameRow["metrics"]
  readonly quality: FrameRow["quality"]
  readonly late: boolean
}

/** The assets that devices were linked to at these instants, those above them, and what they came to then. */
export const assetsOf = (sql: Sql, readings: ReadonlyArray<Pick<FrameRow, "entity_id" | "at">>) => sql<AssetRow>`
  with recursive touched as (
    select edge.target_entity_id as asset_id, reading.ts, 1 as depth
    from unnest(${uuids(readings.map(({ entity_id }) => entity_id))}, ${instants(readings.map(({ at }) => at))}) as reading (device_id, ts)
    join entity_edges edge on edge.source_entity_type = 'device' and edge.target_entity_type = 'asset'
      and edge.source_entity_id = reading.device_id and edge.valid_from <= reading.ts
      and (edge.valid_until is null or edge.valid_until > reading.ts)
    union
    select child.parent_id, touched.ts, touched.depth + 1
    from touched join assets child on child.id = touched.asset_id
    where child.parent_id is not null and touched.depth < 10
  )
  select asset.id as asset_id, asset.name, ${sql.literal(micros("instant.ts"))} as at, ${sql.literal(frameColumns)}
  from (select distinct asset_id, ts from touched limit ${MOST_ROWS}) instant
  join assets asset on asset.id = instant.asset_id
  left join telemetry_frames frame on frame.entity_id = asset.id and frame.ts = instant.ts and frame.entity_type = 'asset'
  order by asset.name, asset.id, instant.ts`

export interface AlarmRow {
  readonly id: string
  readonly rule_id: string
  readonly entity_type: "device" | "asset"
  readonly entity_id: string
  readonly state: string
  readonly severity: string
  readonly started: number
  readonly message: string
}

/** Alarms that one of these readings raised. */
export const alarmsOf = (
  sql: Sql,
  readings: ReadonlyArray<{ readonly entity: string; readonly reading: string }>,
  from: Instant,
  to: Instant
) => sql<AlarmRow>`
  select id, rule_id, entity_type, entity_id, state, severity, ${sql.literal(micros("started_at"))} as started, message
  from alarms
  where entity_id = any(${uuids([...new Set(readings.map(({ entity }) => entity))])})
    and started_at >= (${instants([from - 2 * DAY])})[1] and started_at <= (${instants([to + 2 * DAY])})[1]
    and cause_reading_id = any(${uuids(readings.map(({ reading }) => reading))})
  order by started_at, id limit ${MOST_ROWS}`

export interface EventRow {
  readonly id: string
  readonly event_type: string
  readonly entity_id: string
  readonly alarm_id: string | null
  readonly severity: string
  readonly occurred: number
}
export const eventsOf = (sql: Sql, alarms: ReadonlyArray<string>) => sql<EventRow>`
  select id, event_type, entity_id, alarm_id, severity, ${sql.literal(micros("occurred_at"))} as occurred
  from system_events where alarm_id = any(${uuids(alarms)}) order by sequence limit ${MOST_ROWS}`

export interface ActivityRow {
  readonly id: string
  readonly name: string
  readonly state: string
  readonly created: number
}
export const activitiesOf = (sql: Sql, alarms: ReadonlyArray<string>) => sql<ActivityRow>`
  select distinct activity.id, activity.name, activity.state, ${sql.literal(micros("activity.created_at"))} as created
  from activity_events told join activities activity on activity.id = told.activity_id
  where told.alarm_id = any(${uuids(alarms)}) order by created, id limit ${MOST_ROWS}`

export const deadLettersOf = (sql: Sql, messageIds: ReadonlyArray<string>) => sql<DeadLetterRow>`
  select item.id, item.topic, item.partition, item."offset", item."group", item.stage, item.reason, item.message, item.path,
    item.entry, item.device_id, item.message_id, item.headers, item.size, item.state, item.retries,
    (extract(epoch from item.received_at) * 1000000)::bigint as received,
    (extract(epoch from item.failed_at) * 1000000)::bigint as failed,
    (extract(epoch from item.retried_at) * 1000000)::bigint as retried,
    (extract(epoch from item.resolved_at) * 1000000)::bigint as resolved, '' as sorted
  from dead_letters item where item.message_id = any(${uuids(messageIds)}) order by item.failed_at, item.id limit ${MOST_ROWS}`

export interface JobRow {
  readonly id: string
  readonly kind: string
  readonly state: string
}
/** Replays and reprocessings of a span that the message was received in. */
export const jobsOf = (sql: Sql, deviceId: string, receivedAt: Instant) => sql<JobRow>`
  select id, kind, state from jobs
  where kind in ('replay', 'reprocess') and created_at > (${instants([receivedAt])})[1]
    and coalesce((parameters ->> 'from')::numeric, 0) <= ${String(receivedAt)}::numeric
    and coalesce((parameters ->> 'to')::numeric, 1e18) > ${String(receivedAt)}::numeric
    and coalesce(parameters ->> 'deviceId', ${deviceId}) = ${deviceId}
    and (parameters ->> 'deviceTypeId' is null
      or parameters ->> 'deviceTypeId' = (select device_type_id::text from devices where id = ${deviceId}::uuid))
  order by created_at limit ${MOST_ROWS}`
