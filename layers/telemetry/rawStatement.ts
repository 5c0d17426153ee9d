/**
 * The audit copy: one insert per batch.
 * @module
 */
import type { PgTypes } from "@effect/sql-pg"
import { storableText } from "@argusiq/domain/storable.ts"
import { bigintegers, byteStrings, instants, integers, texts, uuids } from "./columns.ts"
import type { RawMessage } from "./TelemetryStore.ts"

export const rawStatement = `
insert into telemetry_raw (message_id, tenant_id, device_id, received_at, payload, size, content_type, ingestion_source,
  mqtt_topic, client_id, topic, partition, "offset", error, error_reason)
select * from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::bytea[], $6::int[], $7::text[], $8::text[],
  $9::text[], $10::text[], $11::text[], $12::int[], $13::bigint[], $14::text[], $15::text[])
on conflict do nothing`

const storable = (text: string | null) => (text === null ? null : storableText(text))

export const rawParameters = (messages: ReadonlyArray<RawMessage>): ReadonlyArray<PgTypes.Parameter> => [
  uuids(messages.map((message) => message.messageId)),
  uuids(messages.map((message) => message.tenantId)),
  uuids(messages.map((message) => message.deviceId)),
  instants(messages.map((message) => message.receivedAt)),
  byteStrings(messages.map((message) => message.payload)),
  integers(messages.map((message) => message.size)),
  texts(messages.map((message) => storableText(message.contentType))),
  texts(messages.map((message) => storableText(message.source))),
  texts(messages.map((message) => storable(message.mqttTopic))),
  texts(messages.map((message) => storable(message.clientId))),
  texts(messages.map((message) => message.topic)),
  integers(messages.map((message) => message.partition)),
  bigintegers(messages.map((message) => message.offset)),
  texts(messages.map((message) => storable(message.error))),
  texts(messages.map((message) => storable(message.errorReason)))
]
