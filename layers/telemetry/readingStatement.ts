/**
 * A batch of readings as one statement: frames, latest values, last seen, and the end of gateways' transactions. One round
 * trip, whatever the size of the batch.
 * @module
 */
import { randomUUID } from "node:crypto"
import type { NormalizedMessage, Reading } from "@argusiq/domain/readings.ts"
import { storableJson } from "@argusiq/domain/storable.ts"
import { isGatewayMessage } from "@argusiq/domain/transactions.ts"
import type { PgTypes } from "@effect/sql-pg"
import { bigintegers, instants, integers, texts, uuids } from "./columns.ts"
import { changesLatest, mergedLatest } from "./latestStatement.ts"
import { devicesOf, type Frame, type KnownDevices } from "./LatestReadings.ts"
import { endedTransactions } from "./transactionStatements.ts"

/** Who was seen, when, and in how many messages that were not stored before. */
const seenDevices = `
  select frame.entity_id as device_id, frame.tenant_id, frame.received_at, coalesce(counted.messages, 0) as messages
  from device join frame on frame.place = device.last_seen left join counted on counted.entity_id = frame.entity_id`

/** Gateways too. One may stand among the devices as well: its type was changed between its messages. */
const seenGateways = `
  select device_id, tenant_id, max(received_at), sum(messages)::bigint
  from (
    ${seenDevices}
    union all
    select sent.device_id, sent.tenant_id, max(sent.received_at), count(fresh.message_id)
    from sent left join fresh using (message_id) group by 1, 2
  ) everyone (device_id, tenant_id, received_at, messages)
  group by 1, 2`

/** What is told of gateways' messages: `sent` has each once, with or without readings. */
const gatewayMessages = `, sent as (
  select * from unnest($18::uuid[], $19::uuid[], $20::uuid[], $21::timestamptz[], $22::text[], $23::int[])
    as sent (message_id, tenant_id, device_id, received_at, correlation_id, devices)
), fresh as (
  select message_id, count(distinct entity_id)::int as devices from stored group by message_id
), ended as (${endedTransactions}
)`

/**
 * A device names its frames by their places: what they hold is sent and parsed once. Devices are taken in the order of their
 * ids: batches that touch the same ones take their row locks in the same order.
 */
const statement = (seen: string, further: string) => `
with frame as materialized (
  select place, tenant_id, entity_id, ts, reading_id, message_id, received_at, source_device_id, config_version,
    metrics::jsonb as metrics, quality::jsonb as quality, metadata::jsonb as metadata
  from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::uuid[], $5::uuid[], $6::timestamptz[], $7::uuid[], $8::int[],
      $9::text[], $10::text[], $11::text[]) with ordinality
    as frame (tenant_id, entity_id, ts, reading_id, message_id, received_at, source_device_id, config_version, metrics, quality,
      metadata, place)
), device as (
  select * from unnest($12::int[], $13::int[], $14::bigint[], $15::text[], $16::text[], $17::text[])
    as device (last_seen, newest, keys_hash, metrics, quality, older)
), stored as (
  insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id, message_id, received_at, source_device_id,
    config_version, metrics, quality, metadata)
  select tenant_id, 'device', entity_id, ts, reading_id, message_id, received_at, source_device_id, config_version,
    metrics, quality, metadata
  from frame
  on conflict do nothing
  returning entity_id, message_id
), counted as (
  select entity_id, count(distinct message_id) as messages from stored group by entity_id
)${further}, seen as (
  insert into device_status (device_id, tenant_id, last_seen_at, messages_total)
  ${seen}
  order by device_id
  on conflict (device_id) do update set
    last_seen_at = greatest(device_status.last_seen_at, excluded.last_seen_at),
    messages_total = device_status.messages_total + excluded.messages_total
)
insert into entity_latest (entity_id, entity_type, tenant_id, metrics, newest_ts, older, quality, keys_hash, updated_at)
select frame.entity_id, 'device', frame.tenant_id, coalesce(device.metrics::jsonb, frame.metrics), frame.ts,
  device.older::jsonb, case when device.metrics is null then frame.quality else device.quality::jsonb end,
  device.keys_hash, now()
from device join frame on frame.place = device.newest
order by frame.entity_id
on conflict (entity_id) do update set
  (metrics, newest_ts, older, quality, keys_hash, updated_at) = (${mergedLatest})
where ${changesLatest}`

const deviceStatement = statement(seenDevices, "")
const gatewayStatement = statement(seenGateways, gatewayMessages)

/** What may stand in JSON text for NUL or a lone surrogate; a backslash in the text itself is taken for one as well. */
const suspicious = /\\u(0000|d[89a-f])/i

/** The text of a JSON value that jsonb takes. */
const jsonText = (value: object): string => {
  const text = JSON.stringify(value)
  return suspicious.test(text) ? JSON.stringify(storableJson(value)) : text
}
const optionalJsonText = (value: object | undefined) => (value === undefined ? null : jsonText(value))

const framesOf = (messages: ReadonlyArray<NormalizedMessage>): ReadonlyArray<Frame> =>
  messages.flatMap((message) => message.readings.map((reading) => ({ message, reading })))

/** From 1 on, as PostgreSQL counts them. */
const placeOf = (index: number | undefined) => (index === undefined ? null : index + 1)

/** Each once: a batch may hold retries of several entries of one message. */
const gatewayMessagesOf = (messages: ReadonlyArray<NormalizedMessage>): ReadonlyArray<NormalizedMessage> => [
  ...new Map(messages.filter(isGatewayMessage).map((message) => [message.messageId, message])).values()
]

const gatewayParameters = (messages: ReadonlyArray<NormalizedMessage>): ReadonlyArray<PgTypes.Parameter> => [
  uuids(messages.map(({ messageId }) => messageId)),
  uuids(messages.map(({ tenantId }) => tenantId)),
  uuids(messages.map(({ deviceId }) => deviceId)),
  instants(messages.map(({ receivedAt }) => receivedAt)),
  texts(messages.map(({ correlationId, messageId }) => correlationId ?? messageId)),
  integers(messages.map(({ readings }) => new Set(readings.map(({ deviceId }) => deviceId)).size))
]

export interface ReadingQuery {
  readonly statement: string
  readonly parameters: ReadonlyArray<PgTypes.Parameter>
}

/** Undefined when there is nothing to store. */
export const readingQuery = (
  messages: ReadonlyArray<NormalizedMessage>,
  known?: KnownDevices
): ReadingQuery | undefined => {
  const frames = framesOf(messages)
  const ofGateways = gatewayMessagesOf(messages)
  if (ofGateways.length > 0) {
    const parameters = [...readingParameters(frames, known), ...gatewayParameters(ofGateways)]
    return { statement: gatewayStatement, parameters }
  }
  return frames.length === 0 ? undefined : { statement: deviceStatement, parameters: readingParameters(frames, known) }
}

const readingParameters = (
  frames: ReadonlyArray<Frame>,
  known: KnownDevices | undefined
): ReadonlyArray<PgTypes.Parameter> => {
  const devices = devicesOf(frames, known)
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
    integers(devices.map(({ lastSeen }) => placeOf(lastSeen))),
    integers(devices.map(({ latest }) => placeOf(latest?.newest))),
    bigintegers(devices.map(({ latest }) => latest?.keysHash ?? null)),
    texts(devices.map(({ latest }) => optionalJsonText(latest?.merged?.metrics))),
    texts(devices.map(({ latest }) => optionalJsonText(latest?.merged?.quality))),
    texts(devices.map(({ latest }) => optionalJsonText(latest?.merged?.older)))
  ]
}

/** The control of the fault tests: a redelivered reading is taken for another one. */
export const readingsWithFreshIds = (messages: ReadonlyArray<NormalizedMessage>): ReadonlyArray<NormalizedMessage> =>
  messages.map((message) => ({
    ...message,
    readings: message.readings.map((reading) => ({ ...reading, readingId: randomUUID() as Reading["readingId"] }))
  }))
