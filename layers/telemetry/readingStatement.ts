/**
 * A batch of readings as one statement: frames, latest values, last seen. One round trip, whatever the size of the batch.
 * @module
 */
import { randomUUID } from "node:crypto"
import type { NormalizedMessage, Reading } from "@argusiq/domain/readings.ts"
import { storableJson } from "@argusiq/domain/storable.ts"
import type { PgTypes } from "@effect/sql-pg"
import { instants, integers, texts, uuids } from "./columns.ts"
import { devicesOf } from "./LatestReadings.ts"

/**
 * The latest values merge by key alone when all that comes is newer than all that is held, which `newest_ts` tells; only
 * otherwise are they compared metric by metric, at several times the cost. `newest_ts` of a batch is null when its metrics
 * are of different instants.
 */
export const readingStatement = `
with stored as (
  insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id, message_id, received_at, source_device_id,
    config_version, metrics, quality, metadata)
  select tenant_id, 'device', entity_id, ts, reading_id, message_id, received_at, source_device_id, config_version,
    metrics::jsonb, quality::jsonb, metadata::jsonb
  from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::uuid[], $5::uuid[], $6::timestamptz[], $7::uuid[], $8::int[],
      $9::text[], $10::text[], $11::text[])
    as frame (tenant_id, entity_id, ts, reading_id, message_id, received_at, source_device_id, config_version, metrics, quality,
      metadata)
  on conflict do nothing
  returning entity_id, message_id
), counted as (
  select entity_id, count(distinct message_id) as messages from stored group by entity_id
), seen as (
  insert into device_status (device_id, tenant_id, last_seen_at, messages_total)
  select device.device_id, device.tenant_id, device.last_seen_at, coalesce(counted.messages, 0)
  from unnest($12::uuid[], $13::uuid[], $14::timestamptz[]) as device (device_id, tenant_id, last_seen_at)
  left join counted on counted.entity_id = device.device_id
  order by device.device_id
  on conflict (device_id) do update set
    last_seen_at = greatest(device_status.last_seen_at, excluded.last_seen_at),
    messages_total = device_status.messages_total + excluded.messages_total
)
insert into entity_latest (entity_id, entity_type, tenant_id, metrics, newest_ts, updated_at)
select entity_id, 'device', tenant_id, metrics::jsonb, newest_ts::bigint, now()
from unnest($15::uuid[], $16::uuid[], $17::text[], $18::text[]) as device (entity_id, tenant_id, metrics, newest_ts)
on conflict (entity_id) do update set
  metrics = case
    when excluded.newest_ts > entity_latest.newest_ts then entity_latest.metrics || excluded.metrics
    else entity_latest.metrics || coalesce((
      select jsonb_object_agg(incoming.key, incoming.value) from jsonb_each(excluded.metrics) as incoming
      where coalesce((incoming.value ->> 'ts')::bigint > (entity_latest.metrics -> incoming.key ->> 'ts')::bigint, true)
    ), '{}')
  end,
  newest_ts = case
    when excluded.newest_ts > entity_latest.newest_ts then excluded.newest_ts
    else (
      select max((metric.value ->> 'ts')::bigint)
      from (
        select value from jsonb_each(entity_latest.metrics) union all select value from jsonb_each(excluded.metrics)
      ) as metric
    )
  end,
  updated_at = excluded.updated_at`

/** What may stand in JSON text for NUL or a lone surrogate; a backslash in the text itself is taken for one as well. */
const suspicious = /\\u(0000|d[89a-f])/i

/** The text of a JSON value that jsonb takes. */
const jsonText = (value: object): string => {
  const text = JSON.stringify(value)
  return suspicious.test(text) ? JSON.stringify(storableJson(value)) : text
}
const optionalJsonText = (value: object | undefined) => (value === undefined ? null : jsonText(value))

interface Frame {
  readonly message: NormalizedMessage
  readonly reading: Reading
}

const framesOf = (messages: ReadonlyArray<NormalizedMessage>): ReadonlyArray<Frame> =>
  messages.flatMap((message) => message.readings.map((reading) => ({ message, reading })))

/** Undefined when there is nothing to store. */
export const readingParameters = (
  messages: ReadonlyArray<NormalizedMessage>
): ReadonlyArray<PgTypes.Parameter> | undefined => {
  const frames = framesOf(messages)
  if (frames.length === 0) return undefined
  const devices = devicesOf(messages)
  const latest = devices.filter((device) => Number.isFinite(device.newest))
  return [
    uuids(frames.map(({ message }) => message.tenantId)),
    uuids(frames.map(({ reading }) => reading.deviceId)),
    instants(frames.map(({ reading }) => reading.ts)),
    uuids(frames.map(({ reading }) => reading.readingId)),
    uuids(frames.map(({ message }) => message.messageId)),
    instants(frames.map(({ message }) => message.receivedAt)),
    uuids(frames.map(({ reading }) => reading.sourceGatewayId ?? reading.deviceId)),
    integers(frames.map(({ reading }) => reading.typeVersion)),
    texts(frames.map(({ reading }) => jsonText(reading.metrics))),
    texts(frames.map(({ reading }) => optionalJsonText(reading.quality))),
    texts(frames.map(({ reading }) => optionalJsonText(reading.metadata))),
    uuids(devices.map((device) => device.deviceId)),
    uuids(devices.map((device) => device.tenantId)),
    instants(devices.map((device) => device.lastSeenAt)),
    uuids(latest.map((device) => device.deviceId)),
    uuids(latest.map((device) => device.tenantId)),
    texts(latest.map((device) => jsonText(device.latest))),
    texts(latest.map((device) => (device.oldest === device.newest ? String(device.newest) : null)))
  ]
}

/** The control of the fault tests: a redelivered reading is taken for another one. */
export const readingsWithFreshIds = (messages: ReadonlyArray<NormalizedMessage>): ReadonlyArray<NormalizedMessage> =>
  messages.map((message) => ({
    ...message,
    readings: message.readings.map((reading) => ({ ...reading, readingId: randomUUID() as Reading["readingId"] }))
  }))
