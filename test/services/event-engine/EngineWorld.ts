/**
 * The event engine on a real database and a real log, with its records, its ticks and its restarts in the hands of a test, as
 * the consumer loop would call it.
 * @module
 */
import type { Gap } from "@argusiq/domain/connection-status.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { eventEngine } from "@argusiq/event-engine/EventEngine.ts"
import { Bus, type BusRecord, type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import type { Consumer, Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { partitionOf } from "@argusiq/layers/bus/murmur2.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { insertDevice, insertDeviceType, insertOrganization, publishVersion } from "../../layers/profiles/registry.ts"
import { testDatabase } from "../../support/postgres.ts"
import { recordsOf, testBus } from "../dispatcher/topics.ts"
import { LIMIT_SECONDS, type Step, type Told } from "./timelines.ts"

export const world = Layer.mergeAll(ProfileCache.layer({ size: 10_000 }), testBus).pipe(
  Layer.provideMerge(testDatabase)
)

export const PARTITION = 3

/** A device id whose records come through {@link PARTITION}. */
const idInPartition = ({ partitions }: Bus["Service"]) => {
  for (;;) {
    const id = randomUUID()
    if (partitionOf(partitions, Buffer.from(id)) === PARTITION) return id
  }
}

export interface Registry {
  readonly tenantId: string
  readonly deviceTypeId: string
  readonly gatewayTypeId: string
  readonly devices: ReadonlyArray<string>
  /** The last device with those that it brings, whose own ids lie in any partition. */
  readonly gateways: ReadonlyMap<string, ReadonlyArray<string>>
}

/** So many devices, the last one a gateway with two children; of what was before nothing is known any more. */
export const register = Effect.fnUntraced(function* (count: number) {
  const bus = yield* Bus
  const sql = yield* OwnerSql
  yield* sql`delete from ingest_gaps`
  yield* sql`delete from consumer_offsets`
  yield* sql`delete from device_connections`
  const tenantId = yield* insertOrganization()
  const typeWith = Effect.fnUntraced(function* (config: object) {
    const deviceTypeId = yield* insertDeviceType(tenantId)
    yield* publishVersion({
      tenantId,
      deviceTypeId,
      number: 1,
      effectiveAt: Date.now() - 7_200_000,
      config: { offlineAfterSeconds: LIMIT_SECONDS, ...config }
    })
    return deviceTypeId
  })
  const deviceTypeId = yield* typeWith({ processingMode: "endpoint" })
  const gatewayTypeId = yield* typeWith({
    processingMode: "gateway",
    demuxStrategy: {
      childDevicesPath: "$.devices",
      childDeviceIdPath: "$.id",
      autoCreateChildren: false,
      childDeviceTypeId: deviceTypeId
    }
  })
  const devices = Array.from({ length: count }, () => idInPartition(bus))
  const children = [randomUUID(), randomUUID()]
  const gateway = devices.at(-1)!
  for (const deviceId of [...devices.slice(0, -1), ...children])
    yield* insertDevice({ tenantId, deviceTypeId, deviceId })
  yield* insertDevice({ tenantId, deviceTypeId: gatewayTypeId, deviceId: gateway })
  const gateways = new Map<string, ReadonlyArray<string>>([[gateway, children]])
  return { tenantId, deviceTypeId, gatewayTypeId, devices, gateways } as Registry
})

export const recordOf = (
  { deviceTypeId, gatewayTypeId, gateways, tenantId }: Registry,
  step: Step,
  headers: Readonly<Record<string, string>> = {}
): BusRecord => {
  const { at, deviceId, kind } = step
  const isGateway = gateways.has(deviceId)
  const envelope = {
    "message-id": kind === "message" ? step.messageId : randomUUID(),
    "tenant-id": tenantId,
    "device-id": deviceId,
    "received-at": String(at),
    source: "mqtt",
    ...headers
  }
  if (kind === "message") {
    const reading = { readingId: randomUUID(), ts: at, typeVersion: 1, metrics: { temperature: 21.5 } }
    const readings = isGateway
      ? step.children.map((child) => ({ ...reading, deviceId: child, deviceTypeId, sourceGatewayId: deviceId }))
      : [{ ...reading, deviceId, deviceTypeId }]
    return {
      topic: Topics.normalized,
      key: deviceId,
      value: Buffer.from(JSON.stringify({ messageId: step.messageId, tenantId, deviceId, receivedAt: at, readings })),
      headers: { ...envelope, "device-type-id": isGateway ? gatewayTypeId : deviceTypeId, "type-version": "1" }
    }
  }
  const { connectionId } = step
  const connection = {
    deviceId,
    tenantId,
    at,
    clientId: "client",
    connectionId,
    connected: kind === "connected",
    ...(step.kind === "disconnected" && {
      connections: step.connections,
      ...(step.reason !== undefined && { reason: step.reason })
    })
  }
  return { topic: Topics.connections, key: deviceId, value: Buffer.from(JSON.stringify(connection)), headers: envelope }
}

/** Publishes, and gives back the records of {@link PARTITION} as the log has them from then on. */
export const log = Effect.fnUntraced(function* (records: ReadonlyArray<BusRecord>) {
  const bus = yield* Bus
  const at = { topic: Topics.normalized, partition: PARTITION }
  const { end } = yield* bus.range(at)
  yield* bus.publish(records)
  return (yield* recordsOf(Topics.normalized)).filter(
    ({ offset, partition }) => partition === PARTITION && offset >= end
  )
})

/** As a record stands in the connections' topic; nobody reads it from there. */
export const asStored = (record: BusRecord): StoredRecord => ({
  ...record,
  partition: PARTITION,
  offset: 0n,
  appendedAt: 0
})

const toTime = (at: number) => new Date(at / 1000).toISOString().replace("Z", `${String(at % 1000).padStart(3, "0")}Z`)

/** One after another, each a process of its own as far as memory goes. */
export const makeEngine = Effect.gen(function* () {
  const sql = yield* PipelineSql
  const bus = yield* Bus
  let consumer: Consumer = yield* eventEngine
  let epoch = 1n

  const conclude = Effect.fnUntraced(function* (outcome: Outcome) {
    if (outcome.store !== undefined) yield* sql.withTransaction(outcome.store)
    outcome.stored?.()
    return outcome
  })
  /** Gives back what stores it. The offset moves with it, as the loop has it. */
  const begin = Effect.fnUntraced(function* (records: ReadonlyArray<StoredRecord>) {
    const { partition, topic } = records[0]!
    const next = records.at(-1)!.offset + 1n
    const time = Math.max(...records.map(({ headers }) => Number(headers["received-at"])))
    const outcome = yield* consumer.process({ topic, partition, records, next, end: next }, time, epoch)
    return Effect.tap(conclude(outcome), () => remember(topic, time, next))
  })
  return {
    begin,
    process: (records: ReadonlyArray<StoredRecord>) => Effect.flatten(begin(records)),
    tick: Effect.fnUntraced(function* (topic: string, time: number) {
      yield* remember(topic, time)
      return yield* conclude(yield* consumer.tick!({ topic, partition: PARTITION }, time, epoch))
    }),
    /** A process that knows only what is stored takes the partition over. */
    restart: Effect.gen(function* () {
      consumer = yield* eventEngine
      epoch++
    }),
    /** The same process is given the partition again. */
    reassign: Effect.sync(() => void epoch++)
  }

  function remember(topic: string, time: number, next = 0n) {
    return sql`insert into consumer_offsets ("group", topic, partition, log_id, epoch, next, partition_time)
      values (${Groups.eventEngine}, ${topic}, ${PARTITION}, ${bus.logId}, ${String(epoch)}::bigint,
        ${String(next)}::bigint, ${toTime(time)}::timestamptz)
      on conflict ("group", topic, partition) do update set next = greatest(consumer_offsets.next, excluded.next),
        epoch = excluded.epoch, log_id = excluded.log_id, partition_time = greatest(consumer_offsets.partition_time, excluded.partition_time)`
  }
})

/** As the telemetry writer leaves it when it has stored these. */
export const writeLastSeen = Effect.fnUntraced(function* (
  tenantId: string,
  records: ReadonlyArray<StoredRecord>,
  next: bigint
) {
  const sql = yield* PipelineSql
  const bus = yield* Bus
  const lastSeen = new Map<string, number>()
  for (const record of records) {
    if (record.offset >= next) continue
    const { deviceId, readings, receivedAt } = JSON.parse(Buffer.from(record.value).toString()) as {
      readonly deviceId: string
      readonly receivedAt: number
      readonly readings: ReadonlyArray<{ readonly deviceId: string }>
    }
    for (const id of [deviceId, ...readings.map((reading) => reading.deviceId)]) lastSeen.set(id, receivedAt)
  }
  for (const [deviceId, at] of lastSeen) {
    yield* sql`insert into device_status (device_id, tenant_id, last_seen_at)
      values (${deviceId}, ${tenantId}, ${toTime(at)}::timestamptz)
      on conflict (device_id) do update set last_seen_at = greatest(device_status.last_seen_at, excluded.last_seen_at)`
  }
  yield* sql`insert into consumer_offsets ("group", topic, partition, log_id, epoch, next)
    values (${Groups.telemetryWriter}, ${Topics.normalized}, ${PARTITION}, ${bus.logId}, 1, ${String(next)}::bigint)
    on conflict ("group", topic, partition) do update set next = excluded.next, log_id = excluded.log_id`
})

/** The bridges have accepted messages until then, but in these gaps. */
export const accepted = Effect.fnUntraced(function* (until: number, gaps: ReadonlyArray<Gap> = []) {
  const sql = yield* OwnerSql
  for (const { from, to } of gaps) {
    if (to > until) continue
    yield* sql`insert into ingest_gaps ("from", "to") values (${toTime(from)}::timestamptz, ${toTime(to)}::timestamptz)
      on conflict do nothing`
  }
  yield* sql`update ingest_heartbeat set accepted_until = ${toTime(until)}::timestamptz`
})

/** Of a tenant, in the order in which it was stored. */
export const toldTo = Effect.fnUntraced(function* (tenantId: string) {
  const sql = yield* OwnerSql
  const rows = yield* sql<{ entity_id: string; event_type: string; at: bigint; reason: string }>`
    select entity_id, event_type, (extract(epoch from occurred_at) * 1000000)::bigint as at, payload ->> 'reason' as reason
    from system_events where tenant_id = ${tenantId} and event_type in ('DEVICE_ONLINE', 'DEVICE_OFFLINE')
    order by sequence`
  return rows.map((row): Told => ({
    deviceId: row.entity_id,
    type: row.event_type,
    at: Number(row.at),
    reason: row.reason
  }))
})

export const statusesOf = Effect.fnUntraced(function* (tenantId: string) {
  const sql = yield* OwnerSql
  const rows = yield* sql<{ device_id: string; connectivity: string; changed_at: bigint }>`
    select device_id, connectivity, (extract(epoch from last_connectivity_change) * 1000000)::bigint as changed_at
    from device_status where tenant_id = ${tenantId} and last_connectivity_change is not null`
  return new Map(rows.map((row) => [row.device_id, { status: row.connectivity, changedAt: Number(row.changed_at) }]))
})
