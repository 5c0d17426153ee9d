/**
 * The rule engine on a real database and a real log, with its records, its ticks and its restarts in the hands of a test, as the
 * consumer loop would call it.
 * @module
 */
import { Groups } from "@argusiq/domain/pipeline.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import type { MetricValue, Quality } from "@argusiq/domain/readings.ts"
import { deviceRules, type RuleEngineOptions } from "@argusiq/event-engine/rules/RuleEngine.ts"
import { type Failpoint, Failpoints } from "@argusiq/event-engine/rules/Failpoints.ts"
import { Bus, type BusRecord, type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import type { Consumer, Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { partitionOf } from "@argusiq/layers/bus/murmur2.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import * as AssetCache from "@argusiq/layers/profiles/AssetCache.ts"
import * as ChangeFeed from "@argusiq/layers/profiles/ChangeFeed.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import * as RuleCache from "@argusiq/layers/profiles/RuleCache.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { Effect, Exit, Layer, Stream } from "effect"
import { randomUUID } from "node:crypto"
import { insertDevice, insertDeviceType, insertOrganization, publishVersion } from "../../layers/profiles/registry.ts"
import { testDatabase } from "../../support/postgres.ts"
import { testBus } from "../dispatcher/topics.ts"

export const world = RuleCache.layer({ size: 10_000 }).pipe(
  Layer.provideMerge(Layer.mergeAll(ProfileCache.layer({ size: 10_000 }), AssetCache.layer({ size: 10_000 }))),
  Layer.provideMerge(Layer.mergeAll(ChangeFeed.layer, testBus, Sandbox.layer)),
  Layer.provideMerge(testDatabase)
)

export const SECOND = 1_000_000
export const PARTITION = 3
export const AT = { topic: Topics.normalized, partition: PARTITION }

const idInPartition = ({ partitions }: Bus["Service"]) => {
  for (;;) {
    const id = randomUUID()
    if (partitionOf(partitions, Buffer.from(id)) === PARTITION) return id
  }
}

const toTime = (at: number) => new Date(at / 1000).toISOString().replace("Z", `${String(at % 1000).padStart(3, "0")}Z`)

/** An organisation with so many devices, of which nothing is known; messages were accepted all the time, until a day from now. */
export const register = Effect.fnUntraced(function* (count: number) {
  const sql = yield* OwnerSql
  yield* sql`delete from ingest_gaps`
  yield* sql`delete from consumer_offsets`
  yield* sql`delete from fold_states`
  const bus = yield* Bus
  const { end } = yield* bus.range(AT)
  yield* sql`insert into consumer_offsets ("group", topic, partition, log_id, epoch, next)
    values (${Groups.deviceRules}, ${AT.topic}, ${PARTITION}, ${bus.logId}, 1, ${String(end)}::bigint)`
  yield* sql`update ingest_heartbeat set accepted_until = now() + interval '1 day'`
  const tenantId = yield* insertOrganization()
  const deviceTypeId = yield* insertDeviceType(tenantId)
  yield* publishVersion({ tenantId, deviceTypeId, number: 1, effectiveAt: 0, config: { processingMode: "endpoint" } })
  const devices = Array.from({ length: count }, () => idInPartition(bus))
  for (const deviceId of devices) yield* insertDevice({ tenantId, deviceTypeId, deviceId })
  return { tenantId, deviceTypeId, devices }
})
export type Registry = Effect.Success<ReturnType<typeof register>>

/** A version of a rule over all devices of the organisation; `effectiveAt` in epoch microseconds. */
export const saveRule = Effect.fnUntraced(function* (
  tenantId: string,
  config: object,
  { effectiveAt = 0, id = randomUUID() as string, number = 1 } = {}
) {
  const sql = yield* OwnerSql
  yield* sql`insert into threshold_rules (id, tenant_id, name) values (${id}, ${tenantId}, ${id}) on conflict do nothing`
  const whole = {
    name: "a rule",
    entityType: "device",
    scope: { kind: "all" },
    metricKey: "t",
    severity: "high",
    ...config
  }
  yield* sql`insert into threshold_rule_versions (rule_id, tenant_id, number, effective_at, config)
    values (${id}, ${tenantId}, ${number}, ${toTime(effectiveAt)}::timestamptz, ${sql.json(whole)})`
  return id
})

export interface Measured {
  readonly deviceId: string
  readonly ts: number
  readonly metrics: Readonly<Record<string, MetricValue>>
  readonly receivedAt?: number
  readonly readingId?: string
  readonly quality?: Readonly<Record<string, Quality>>
  readonly headers?: Readonly<Record<string, string>>
}

export const recordOf = ({ deviceTypeId, tenantId }: Registry, measured: Measured): BusRecord => {
  const { deviceId, headers, metrics, quality, readingId = randomUUID(), receivedAt = measured.ts, ts } = measured
  const messageId = randomUUID()
  const reading = { readingId, deviceId, ts, deviceTypeId, typeVersion: 1, metrics, ...(quality && { quality }) }
  return {
    topic: Topics.normalized,
    key: deviceId,
    value: Buffer.from(JSON.stringify({ messageId, tenantId, deviceId, receivedAt, readings: [reading] })),
    headers: {
      "message-id": messageId,
      "tenant-id": tenantId,
      "device-id": deviceId,
      "received-at": String(receivedAt),
      "device-type-id": deviceTypeId,
      "type-version": "1",
      source: "mqtt",
      ...headers
    }
  }
}

/** Publishes, and gives back what {@link PARTITION} has from then on. */
export const log = Effect.fnUntraced(function* (records: ReadonlyArray<BusRecord>) {
  const bus = yield* Bus
  const { end } = yield* bus.range(AT)
  yield* bus.publish(records)
  const after = yield* bus.range(AT)
  return yield* Stream.runCollect(bus.read(AT, end, after.end))
})

class Crash extends Error {}

/** One after another, each a process of its own as far as memory goes. */
export const makeRuleEngine = Effect.fnUntraced(function* (options: RuleEngineOptions = {}) {
  const sql = yield* PipelineSql
  const bus = yield* Bus
  let crashAt: Failpoint | undefined
  const engine = deviceRules(options).pipe(
    Effect.provideService(Failpoints, (at) => {
      if (at !== crashAt) return
      crashAt = undefined
      throw new Crash(at)
    })
  )
  let consumer: Consumer = yield* engine
  let epoch = 1n

  const remember = (time: number, next: bigint) =>
    sql`insert into consumer_offsets ("group", topic, partition, log_id, epoch, next, partition_time)
      values (${Groups.deviceRules}, ${AT.topic}, ${PARTITION}, ${bus.logId}, 1, ${String(next)}::bigint,
        ${toTime(time)}::timestamptz)
      on conflict ("group", topic, partition) do update set next = greatest(consumer_offsets.next, excluded.next),
        log_id = excluded.log_id, partition_time = greatest(consumer_offsets.partition_time, excluded.partition_time)`

  const conclude = Effect.fnUntraced(function* (outcome: Outcome, time: number, next: bigint) {
    yield* sql.withTransaction(Effect.andThen(outcome.store ?? Effect.void, remember(time, next)))
    outcome.stored?.()
    return outcome
  })
  return {
    /** The offset moves with it, as the loop has it. */
    process: Effect.fnUntraced(function* (records: ReadonlyArray<StoredRecord>) {
      const next = records.at(-1)!.offset + 1n
      const time = Math.max(...records.map(({ headers }) => Number(headers["received-at"])))
      return yield* conclude(yield* consumer.process({ ...AT, records, next, end: next }, time, epoch), time, next)
    }),
    tick: Effect.fnUntraced(function* (time: number) {
      return yield* conclude(yield* consumer.tick!(AT, time, epoch), time, 0n)
    }),
    /** A process that knows only what is stored takes the partition over. */
    restart: Effect.gen(function* () {
      consumer = yield* engine
      epoch++
    }),
    /** Runs into the end of the process at this place, after which another takes over. */
    crash: Effect.fnUntraced(function* <A, E, R>(at: Failpoint, effect: Effect.Effect<A, E, R>) {
      crashAt = at
      const exit = yield* Effect.exit(effect)
      crashAt = undefined
      consumer = yield* engine
      epoch++
      return Exit.isFailure(exit)
    })
  }
})

const micros = (column: string) => `(extract(epoch from ${column}) * 1000000)::bigint`

export const alarmsOf = Effect.fnUntraced(function* (tenantId: string) {
  const sql = yield* OwnerSql
  const rows = yield* sql<{
    id: string
    rule_id: string
    entity_id: string
    state: string
    severity: string
    started_at: bigint
    ended_at: bigint | null
    settled: boolean
    message: string
  }>`select id, rule_id, entity_id, state, severity, ${sql.literal(micros("started_at"))} as started_at,
      ${sql.literal(micros("ended_at"))} as ended_at, settled, message
    from alarms where tenant_id = ${tenantId} order by started_at, entity_id, rule_id`
  return rows.map((row) => ({
    ...row,
    started_at: Number(row.started_at),
    ended_at: row.ended_at === null ? null : Number(row.ended_at)
  }))
})

export const eventsOf = Effect.fnUntraced(function* (tenantId: string) {
  const sql = yield* OwnerSql
  return yield* sql<{
    id: string
    event_type: string
    alarm_id: string
    rule_id: string
    severity: string
    payload: object
  }>`
    select id, event_type, alarm_id, rule_id, severity, payload from system_events where tenant_id = ${tenantId}
    order by sequence`
})
