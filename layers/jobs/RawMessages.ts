/**
 * The audit copy read in the order of received-at, a page at a time. It has no index for that order; the rows of a span of time
 * are found by where they lie, and spans are chosen so that one holds about a page.
 * @module
 */
import { type Instant } from "@argusiq/domain/ids.ts"
import { type RawCopy } from "@argusiq/domain/replay.ts"
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { listPartitions, rawTable } from "../database/partitions.ts"

/** Whose messages: of one device, of a type's devices, of those and the gateways that they stand behind, or of everybody. */
export type Senders =
  | { readonly _tag: "Device"; readonly id: string }
  | { readonly _tag: "OfType"; readonly id: string }
  | { readonly _tag: "ReadingsOfType"; readonly id: string }
  | { readonly _tag: "All" }

/** After which message to go on. `receivedAt` in epoch microseconds. */
export interface RawPosition {
  readonly receivedAt: Instant
  readonly messageId: string
}

export interface RawPage {
  readonly messages: ReadonlyArray<RawCopy>
  readonly next: RawPosition
  /** There may be more in the span that was looked through. */
  readonly isFull: boolean
}

const nobody = "00000000-0000-0000-0000-000000000000"
/** The position before every message received at `from` or later. */
export const positionBefore = (from: Instant): RawPosition => ({ receivedAt: from, messageId: nobody })

/** What a page holds at most. A message that exceeds the bytes comes as the last one. */
export interface PageLimits {
  readonly messages: number
  readonly bytes: number
}

const instant = (parameter: string) => `timestamptz 'epoch' + ${parameter}::bigint * interval '1 microsecond'`

const senderCondition = ({ _tag }: Senders): string => {
  switch (_tag) {
    case "Device":
      return "device_id = $6::uuid"
    case "OfType":
      return "device_id in (select id from devices where device_type_id = $6::uuid)"
    case "ReadingsOfType":
      return `device_id in (
        select id from devices where device_type_id = $6::uuid
        union select parent_device_id from devices where device_type_id = $6::uuid and parent_device_id is not null)`
    case "All":
      return "$6::uuid is null"
  }
}

const pageStatement = (senders: Senders) => `
  select message_id::text, tenant_id::text, device_id::text, (extract(epoch from received_at) * 1000000)::float8 as received,
    payload, content_type, ingestion_source, mqtt_topic, client_id
  from (
    select *, sum(size::bigint) over (order by received_at, message_id rows between unbounded preceding and 1 preceding) as before
    from (
      select * from telemetry_raw
      where tenant_id = $1::uuid and error is null and device_id is not null and ${senderCondition(senders)}
        and received_at >= ${instant("$2")} and received_at < ${instant("$4")}
        and (received_at, message_id) > (${instant("$2")}, $3::uuid)
      order by received_at, message_id limit $5::int
    ) page
  ) measured
  where coalesce(before, 0) < $7::bigint
  order by received_at, message_id`

interface RawRow {
  readonly message_id: string
  readonly tenant_id: string
  readonly device_id: string
  readonly received: number
  readonly payload: Uint8Array
  readonly content_type: string
  readonly ingestion_source: string
  readonly mqtt_topic: string | null
  readonly client_id: string | null
}

const toRawCopy = (row: RawRow): RawCopy => ({
  messageId: row.message_id,
  tenantId: row.tenant_id,
  deviceId: row.device_id,
  receivedAt: Math.round(row.received),
  payload: row.payload,
  contentType: row.content_type,
  source: row.ingestion_source,
  mqttTopic: row.mqtt_topic,
  clientId: row.client_id
})

/** Messages after a position and received before `to`. */
const readSpan = (
  sql: SqlClient.SqlClient,
  tenantId: string,
  senders: Senders,
  { messageId, receivedAt }: RawPosition,
  to: Instant,
  limits: PageLimits
) =>
  sql
    .unsafe<RawRow>(pageStatement(senders), [
      tenantId,
      String(receivedAt),
      messageId,
      String(to),
      limits.messages,
      senders._tag === "All" ? null : senders.id,
      String(limits.bytes)
    ])
    .pipe(Effect.map((rows) => rows.map(toRawCopy)))

/**
 * From when on the audit copy can hold messages, not before `from`: what retention has dropped need not be looked through.
 * Undefined: it holds none.
 */
export const oldestRaw = Effect.fnUntraced(function* (sql: SqlClient.SqlClient, from: Instant) {
  const [partition] = yield* listPartitions(sql, rawTable)
  const inPartitions = partition === undefined ? Infinity : partition.from * 1_000
  if (inPartitions <= from) return from
  const [outside] = yield* sql<{ first: number | null }>`
    select (extract(epoch from min(received_at)) * 1000000)::float8 as first from telemetry_raw
    where received_at < ${partition === undefined ? "infinity" : new Date(partition.from).toISOString()}::text::timestamptz`
  const oldest = Math.min(inPartitions, Math.floor(outside?.first ?? Infinity))
  return oldest === Infinity ? undefined : Math.max(from, oldest)
})

const second = 1_000_000
const widest = 21_600 * second
const narrowest = second / 100

/** How many devices everybody has. */
export const countDevices = (sql: SqlClient.SqlClient) =>
  Effect.map(sql<{ devices: number }>`select count(*)::int as devices from devices`, ([row]) => row?.devices ?? 0)

/** Reads on and on; remembers how wide a span of time holds a page. */
export class RawReader {
  readonly #sql: SqlClient.SqlClient
  readonly #tenantId: string
  readonly #senders: Senders
  #span = second

  constructor(sql: SqlClient.SqlClient, tenantId: string, senders: Senders) {
    this.#sql = sql
    this.#tenantId = tenantId
    this.#senders = senders
  }

  /** The next messages received before `to`; without messages, `next` says from where there can be some, `to` at the latest. */
  readonly page = Effect.fn("RawReader.page")(function* (
    this: RawReader,
    position: RawPosition,
    to: Instant,
    limits: PageLimits
  ) {
    const end = Math.min(position.receivedAt + this.#span, to)
    const messages = yield* readSpan(this.#sql, this.#tenantId, this.#senders, position, end, limits)
    const last = messages.at(-1)
    const isFull = messages.length === limits.messages || messages.reduce(bytes, 0) >= limits.bytes
    if (isFull && last !== undefined) this.#span = Math.max(last.receivedAt - position.receivedAt, narrowest)
    else this.#span = Math.min(Math.ceil(this.#span * Math.min(limits.messages / messages.length, 2)), widest)
    const next =
      isFull && last !== undefined ? { receivedAt: last.receivedAt, messageId: last.messageId } : positionBefore(end)
    return { messages, next, isFull } satisfies RawPage
  })
}

const bytes = (sum: number, { payload }: RawCopy) => sum + payload.byteLength
