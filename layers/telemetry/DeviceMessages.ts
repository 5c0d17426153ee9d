/**
 * The audit copies of what a device sent, page by page.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type DeviceMessage, type DeviceMessageQuery, MAX_SHOWN_BYTES } from "@argusiq/domain/http/device-messages.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { Context, Effect, Layer } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Actor } from "../registry/Devices.ts"
import { instant } from "../registry/deviceTypeHistory.ts"
import { encodeCursor, type Page, readPage } from "../registry/paging.ts"
import { type BadCursor, NotRegistered, orUnavailable } from "../registry/refusals.ts"

/** What the payloads of a page come to at most, save that a page has one message at least. */
const MOST_PAGE_BYTES = 4 * 1_048_576

interface MessageRow {
  readonly id: string
  readonly received: number
  readonly size: number
  readonly content_type: string
  readonly ingestion_source: string
  readonly mqtt_topic: string | null
  readonly client_id: string | null
  readonly shown: Uint8Array
  readonly error: string | null
  readonly error_reason: string | null
  readonly topic: string
  readonly partition: number
  readonly offset: string
  readonly sorted: string
}

/** Of text that was cut, the last character may be one of several bytes that are not all there. */
const textOf = (bytes: Uint8Array, isCut: boolean): string | undefined => {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })
  try {
    return decoder.decode(bytes, { stream: isCut })
  } catch {
    return undefined
  }
}

const toMessage = (row: MessageRow): DeviceMessage => {
  const truncated = row.size > row.shown.length
  const text = textOf(row.shown, truncated)
  return {
    messageId: row.id,
    receivedAt: isoFromMicros(row.received),
    size: row.size,
    contentType: row.content_type,
    ingestionSource: row.ingestion_source,
    mqttTopic: row.mqtt_topic,
    clientId: row.client_id,
    payload: text ?? Buffer.from(row.shown).toString("base64"),
    encoding: text === undefined ? "base64" : "text",
    truncated,
    error: row.error,
    errorReason: row.error_reason,
    topic: row.topic,
    partition: row.partition,
    offset: row.offset
  }
}

export class DeviceMessages extends Context.Service<
  DeviceMessages,
  {
    list(
      actor: Actor,
      deviceId: string,
      query: DeviceMessageQuery
    ): Effect.Effect<Page<DeviceMessage>, NotRegistered | BadCursor | DatabaseUnavailable>
  }
>()("argusiq/layers/telemetry/DeviceMessages") {
  static readonly layer = Layer.effect(
    DeviceMessages,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)

      const list = Effect.fn("DeviceMessages.list")((actor: Actor, deviceId: string, query: DeviceMessageQuery) =>
        Effect.gen(function* () {
          const devices = yield* sql`select from devices where id = ${deviceId}::uuid`
          if (devices.length === 0) return yield* new NotRegistered({ what: "device" })
          const { endTime, sort = "-receivedAt", startTime } = query
          const filters: Array<Fragment> = [sql`item.device_id = ${deviceId}::uuid`]
          if (startTime !== undefined) filters.push(sql`item.received_at >= ${instant(sql, startTime)}`)
          if (endTime !== undefined) filters.push(sql`item.received_at < ${instant(sql, endTime)}`)
          const select = (where: Fragment, rest: Fragment, sorted: Fragment) => sql<MessageRow>`
            select item.id, (extract(epoch from item.received_at) * 1000000)::float8 as received, item.size,
              item.content_type, item.ingestion_source, item.mqtt_topic, item.client_id,
              substr(item.payload, 1, ${MAX_SHOWN_BYTES}::int) as shown, item.error, item.error_reason, item.topic,
              item.partition, item."offset"::text, ${sorted} as sorted
            from (select message_id as id, * from telemetry_raw) item where ${where} ${rest}`
          return yield* readPage(sql, { ...query, sort }, filters, select, (row) => row)
        }).pipe(
          scoped(actor),
          orUnavailable,
          Effect.map(({ items, nextCursor }): Page<DeviceMessage> => {
            let bytes = 0
            const over = items.findIndex(({ shown }, index) => (bytes += shown.length) > MOST_PAGE_BYTES && index > 0)
            const page = over < 0 ? items : items.slice(0, over)
            const last = page.at(-1)
            const cursor =
              over < 0 || last === undefined
                ? nextCursor
                : encodeCursor([query.sort ?? "-receivedAt", last.sorted, last.id])
            return { items: page.map(toMessage), nextCursor: cursor }
          })
        )
      )
      return DeviceMessages.of({ list })
    })
  )
}
