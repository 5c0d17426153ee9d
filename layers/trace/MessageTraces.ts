/**
 * What became of one message, for people: put together from what is stored and from where it lies in the log. Nothing is
 * written for it while messages are processed.
 * @module
 */
import { compileDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import { wholeMessageId } from "@argusiq/domain/chunks.ts"
import { DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type MessageTrace } from "@argusiq/domain/http/messages.ts"
import { type Caller } from "@argusiq/domain/http/security.ts"
import { besides, statesOf, wayOf } from "@argusiq/domain/message-trace.ts"
import { decodeJson } from "@argusiq/domain/scan.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { uuidV7Instant } from "@argusiq/domain/uuid.ts"
import { Context, Effect, Layer, Result, Schema } from "effect"
import { Bus, type StoredRecord } from "../bus/Bus.ts"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql, PipelineSql } from "../database/Sql.ts"
import { toItem } from "../dead-letters/deadLetterRow.ts"
import { NotRegistered, orUnavailable } from "../registry/refusals.ts"
import { modeOf, shownTrace } from "./shownTrace.ts"
import { findRaw, locate, partitionOfDevice } from "./positions.ts"
import * as Queries from "./traceQueries.ts"

type Reader = Pick<Caller, "isPlatformAdmin" | "tenantId">

/** Generations of one correlation id that are looked for: a gateway that uses an id again and again. */
const GENERATIONS = 20

interface Found extends Omit<Queries.RawRow, "payload"> {
  readonly payload: Uint8Array
}

const ofRecord = (messageId: string, { headers, offset, partition, topic, value }: StoredRecord): Found => ({
  message_id: messageId,
  device_id: headers["device-id"] ?? null,
  received: Number(headers["received-at"]),
  payload: value,
  size: value.byteLength,
  content_type: headers["content-type"] ?? "application/json",
  ingestion_source: headers["source"] ?? "mqtt",
  mqtt_topic: headers["mqtt-topic"] ?? null,
  client_id: headers["client-id"] ?? null,
  topic,
  partition,
  offset
})

const decodeConfig = Schema.decodeUnknownResult(DeviceTypeConfig)

type Chunking = NonNullable<Result.Result.Success<ReturnType<typeof compileDeviceType>>["chunking"]>
const chunkingOf = (config: object | undefined): Chunking | undefined => {
  const decoded = decodeConfig(config)
  if (Result.isFailure(decoded)) return undefined
  const compiled = compileDeviceType(decoded.success)
  return Result.isSuccess(compiled) ? compiled.success.chunking : undefined
}
const headOf = (chunking: Chunking, payload: Uint8Array) => {
  const root = decodeJson(payload)
  return Result.isFailure(root) ? undefined : Result.getOrUndefined(chunking.readHead(root.success))
}

export class MessageTraces extends Context.Service<
  MessageTraces,
  {
    /** Refused as unknown where the message is another organization's; nobody's is the platform operators'. */
    trace(reader: Reader, messageId: string): Effect.Effect<MessageTrace, NotRegistered | DatabaseUnavailable>
  }
>()("argusiq/layers/trace/MessageTraces") {
  static readonly layer: Layer.Layer<MessageTraces, never, AppSql | Bus | PipelineSql> = Layer.effect(
    MessageTraces,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const pipeline = yield* PipelineSql
      const bus = yield* Bus
      const operating = sql`select set_config('app.operator', 'on', true)`
      const scoped =
        (reader: Reader) =>
        <A, E, R>(effect: Effect.Effect<A, E, R>) =>
          inTenantOf(sql)(reader)(reader.isPlatformAdmin ? Effect.andThen(operating, effect) : effect)

      /** Before its audit copy is stored a message lies in the log only. */
      const inLog = Effect.fnUntraced(function* (reader: Reader, messageId: string) {
        const record = yield* findRaw(bus, messageId, uuidV7Instant(messageId))
        if (record === undefined) return undefined
        const tenantId = record.headers["tenant-id"]
        const mayBeSeen = tenantId === undefined ? reader.isPlatformAdmin : tenantId === reader.tenantId
        return mayBeSeen ? ofRecord(messageId, record) : undefined
      })

      /** The message that a chunk is part of, or that the id names, with what it was made of. */
      const wholeOf = Effect.fnUntraced(function* (
        messageId: string,
        raw: Found | undefined,
        route: Queries.RouteRow | undefined
      ) {
        const [own] = yield* Queries.transactionById(sql, [messageId])
        const gatewayId = own?.gateway_device_id ?? raw?.device_id ?? undefined
        const isChunked = own === undefined ? modeOf(route?.config) === "gateway_chunked" : own.chunk_count !== null
        if (gatewayId === undefined || !isChunked) return { transaction: own, chunks: [] }
        const [version] =
          route === undefined && own !== undefined ? yield* Queries.routeOf(sql, gatewayId, own.from) : [route]
        const chunking = chunkingOf(version?.config)
        if (chunking === undefined) return { transaction: own, chunks: [] }
        const head = raw === undefined ? undefined : headOf(chunking, raw.payload)
        const ids = (correlationId: string) =>
          Array.from({ length: GENERATIONS }, (_, index) => wholeMessageId(gatewayId, correlationId, index + 1))
        const transactions =
          own !== undefined || head === undefined ? [own] : yield* Queries.transactionById(sql, ids(head.correlationId))
        const transaction = transactions[0]
        if (transaction === undefined) return { transaction, chunks: [] }
        const sent = yield* Queries.sentWithin(sql, gatewayId, transaction.from, transaction.until)
        const chunks = sent.flatMap((row) => {
          const part = headOf(chunking, row.payload)
          return part === undefined || part.correlationId !== transaction.correlation_id
            ? []
            : [{ messageId: row.message_id, sequence: part.sequence }]
        })
        return { transaction, chunks }
      })

      /** What came of readings: assets, alarms, events, activities. */
      const followUp = Effect.fnUntraced(function* (readings: ReadonlyArray<Queries.FrameRow>) {
        if (readings.length === 0) return { assets: [], alarms: [], events: [], activities: [] }
        const assets = yield* Queries.assetsOf(sql, readings)
        const instants = readings.map(({ at }) => at)
        const causes = [
          ...readings.map(({ entity_id, reading_id }) => ({ entity: entity_id, reading: reading_id })),
          ...assets.flatMap(({ asset_id, reading_id }) =>
            reading_id === null ? [] : [{ entity: asset_id, reading: reading_id }]
          )
        ]
        const alarms = yield* Queries.alarmsOf(sql, causes, Math.min(...instants), Math.max(...instants))
        const ids = alarms.map(({ id }) => id)
        return {
          assets,
          alarms,
          events: ids.length === 0 ? [] : yield* Queries.eventsOf(sql, ids),
          activities: ids.length === 0 ? [] : yield* Queries.activitiesOf(sql, ids)
        }
      })

      const stored = Effect.fnUntraced(function* (messageId: string, inTopic: Found | undefined) {
        const raw = inTopic ?? (yield* Queries.rawCopy(sql, messageId))[0]
        const route =
          raw === undefined || raw.device_id === null
            ? undefined
            : (yield* Queries.routeOf(sql, raw.device_id, raw.received))[0]
        const { chunks, transaction } = yield* wholeOf(messageId, raw, route)
        const subject = transaction?.id ?? messageId
        const deadLetters = yield* Queries.deadLettersOf(sql, [...new Set([messageId, subject])])
        const from = transaction?.from ?? raw?.received ?? Number(deadLetters[0]?.received ?? 0)
        const to = transaction === undefined || transaction.chunk_count === null ? from : transaction.until
        if (raw === undefined && transaction === undefined && deadLetters.length === 0) return undefined
        const ofChildren = transaction !== undefined || (route !== undefined && modeOf(route.config) !== "endpoint")
        const frames = yield* Queries.framesOf(sql, {
          messageId: subject,
          from,
          to,
          deviceId: ofChildren ? undefined : (raw?.device_id ?? undefined),
          devices: transaction?.processed_devices ?? 1
        })
        const [before] =
          frames.length === 0 &&
          inTopic === undefined &&
          raw !== undefined &&
          raw.device_id !== null &&
          transaction === undefined
            ? yield* Queries.sentBefore(sql, raw)
            : []
        const earlier =
          before === undefined
            ? []
            : yield* Queries.framesOf(sql, {
                messageId: before.message_id,
                from: before.received,
                to: before.received,
                deviceId: before.device_id ?? undefined,
                devices: 1
              })
        const jobs =
          raw === undefined || raw.device_id === null ? [] : yield* Queries.jobsOf(sql, raw.device_id, raw.received)
        return {
          raw,
          route,
          transaction,
          chunks,
          deadLetters: deadLetters.map(toItem),
          receivedAt: raw?.received ?? from,
          frames,
          duplicateOf: earlier.length > 0 ? before?.message_id : undefined,
          jobs,
          ...(yield* followUp(frames))
        }
      })

      /** Of the message itself, and, of a chunk, of the whole once there is one. */
      const stages = Effect.fnUntraced(function* (
        messageId: string,
        facts: NonNullable<Effect.Success<ReturnType<typeof stored>>>
      ) {
        const { deadLetters, frames, raw, receivedAt, route, transaction } = facts
        const deviceId = raw?.device_id ?? transaction?.gateway_device_id
        if (deviceId === undefined || deviceId === null || (raw !== undefined && raw.topic !== Topics.raw)) return []
        const whole = transaction === undefined || transaction.chunk_count === null ? undefined : transaction
        const partition = raw?.partition ?? partitionOfDevice(bus, deviceId)
        const failedGroups = new Set(deadLetters.flatMap((one) => (one.state === "open" ? [one.group] : [])))
        const known = new Map(raw === undefined ? [] : [[Topics.raw as string, { offset: raw.offset }]])
        const own =
          raw === undefined
            ? []
            : yield* locate(bus, pipeline, wayOf(modeOf(route?.config), false), {
                messageId,
                partition,
                receivedAt,
                known
              })
        const isWhole = whole !== undefined && (whole.status !== "pending" || raw === undefined)
        const after = isWhole
          ? yield* locate(bus, pipeline, wayOf(undefined, true), {
              messageId: whole.id,
              partition,
              receivedAt: whole.from,
              known: new Map()
            })
          : []
        const way = [...own, ...after]
        const isStored = frames.length > 0
        const states = statesOf(receivedAt, way, { isStored, failedGroups })
        const readers = yield* locate(bus, pipeline, besides, {
          messageId: whole?.id ?? messageId,
          partition,
          receivedAt,
          known: new Map(
            way.flatMap(({ offset, topic }) => (offset === undefined ? [] : [[topic, { offset }] as const]))
          )
        })
        const reached = states.at(-1) === "done" && modeOf(route?.config) !== undefined
        const others = readers.map((step) =>
          reached || isStored
            ? statesOf(receivedAt, [step], { isStored: false, failedGroups })[0]!
            : ("not-reached" as const)
        )
        return [...way, ...readers].map((step, index) => ({
          step,
          state: [...states, ...others][index]!,
          isOfWay: index < way.length
        }))
      })

      const trace = Effect.fn("MessageTraces.trace")(function* (reader: Reader, messageId: string) {
        const inStore = yield* stored(messageId, undefined).pipe(scoped(reader), orUnavailable)
        const inTopic =
          inStore?.raw === undefined && messageId[14] === "7" ? yield* inLog(reader, messageId) : undefined
        const facts =
          inTopic === undefined ? inStore : yield* stored(messageId, inTopic).pipe(scoped(reader), orUnavailable)
        if (facts === undefined) return yield* new NotRegistered({ what: "message" })
        return shownTrace(messageId, facts, yield* stages(messageId, facts))
      })

      return MessageTraces.of({ trace })
    })
  )
}
