import { demux } from "@argusiq/demux/Demux.ts"
import { failpoints as demuxPlaces } from "@argusiq/demux/Failpoints.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { relayPlaces } from "@argusiq/jobs/Failpoints.ts"
import { relayEvents } from "@argusiq/jobs/Relay.ts"
import { Bus, type BusRecord, type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { type Consumer, runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { GatewayChildren } from "@argusiq/layers/registry/GatewayChildren.ts"
import { AliasStore } from "@argusiq/layers/telemetry/AliasStore.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { normalizer } from "@argusiq/normalizer/Normalizer.ts"
import { writer } from "@argusiq/telemetry-writer/TelemetryWriter.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { fileURLToPath } from "node:url"
import { freshDirectory, until } from "../layers/bus/ConsumerWorld.ts"
import { insertGateway } from "../layers/profiles/registry.ts"
import { dispatched } from "../services/demux/world.ts"
import { recordsOf } from "../services/dispatcher/topics.ts"
import { TestDatabase, testDatabase } from "../support/postgres.ts"
import { endOf } from "./endOf.ts"

const program = fileURLToPath(new URL("stageToKill.ts", import.meta.url))

/** A log of its own, that one process at a time has open. */
const makeLog = Effect.gen(function* () {
  const directory = yield* freshDirectory
  const { pipeline } = yield* TestDatabase
  const bus = Layer.orDie(LocalBus.layer({ directory, minFreeBytes: 0 }))
  return {
    bus,
    send: (records: ReadonlyArray<BusRecord>) =>
      Effect.flatMap(Bus, ({ publish }) => publish(records)).pipe(Effect.provide(Layer.fresh(bus))),
    killedAt: (stage: "demux" | "relay", place: string) => endOf(program, [directory, pipeline, stage, place])
  }
})

const fork = <E, R>(consumer: Effect.Effect<Consumer, E, R>) =>
  Effect.flatMap(consumer, (one) => Effect.forkScoped(runConsumer(one)))

const groups = [Groups.demux, Groups.normalizer, Groups.telemetryWriter]
const settled = until(
  "nothing is unread",
  Effect.gen(function* () {
    const bus = yield* Bus
    const lags = yield* Effect.forEach(groups, (group) => bus.lag(group))
    return lags.every((lag) => lag.length > 0 && lag.every(({ records }) => records === 0n))
  }),
  60_000
)

/** What an idempotent consumer keeps: of each id the first record, with which all others of that id must agree. */
const keptOf = (records: ReadonlyArray<StoredRecord>, header: string): ReadonlyMap<string, StoredRecord> => {
  const kept = new Map<string, StoredRecord>()
  for (const record of records) {
    const id = record.headers[header]!
    const first = kept.get(id)
    if (first === undefined) kept.set(id, record)
    else assert.deepStrictEqual([...record.value], [...first.value], `two records ${id} differ`)
  }
  return kept
}

layer(testDatabase, { excludeTestServices: true })("killed at any place", (it) => {
  it.effect(
    "a demultiplexer loses and doubles no child, no reading and no dead letter",
    () =>
      Effect.gen(function* () {
        const sql = yield* OwnerSql
        const log = yield* makeLog
        const gateways = [yield* insertGateway(), yield* insertGateway()]
        const messageOf = (gateway: (typeof gateways)[number], round: number) =>
          dispatched(Topics.gateway, gateway, {
            devices: [{ id: "always", v: round }, { id: `round ${round}`, v: round }, { v: "without an id" }]
          })
        const rounds = demuxPlaces.length + 1
        for (const [round, place] of demuxPlaces.entries()) {
          yield* log.send(gateways.map((gateway) => messageOf(gateway, round)))
          assert.strictEqual(yield* log.killedAt("demux", place), "SIGKILL", place)
        }
        yield* log.send(gateways.map((gateway) => messageOf(gateway, rounds - 1)))
        const { letters, messages } = yield* Effect.gen(function* () {
          yield* Effect.all([fork(demux), fork(normalizer), fork(writer)])
          yield* settled
          return {
            messages: yield* recordsOf(Topics.logicalDevices),
            letters: yield* recordsOf(deadLetterTopic(Topics.gateway))
          }
        }).pipe(
          Effect.scoped,
          Effect.provide(
            Layer.mergeAll(
              ProfileCache.layer({ size: 1_000 }),
              Transactions.layer,
              GatewayChildren.layer,
              AliasStore.layer,
              Sandbox.layer,
              TelemetryStore.layer,
              Layer.fresh(log.bus)
            )
          )
        )
        assert.strictEqual(keptOf(messages, "message-id").size, rounds * 2)
        assert.strictEqual(keptOf(letters, "dlq-id").size, rounds * 2)
        assert.isAbove(messages.length, rounds * 2, "no kill made a message leave twice")
        for (const { deviceId } of gateways) {
          const children = yield* sql<{ identifier: string; events: number; values: ReadonlyArray<number> | null }>`
            select logical_identifier as identifier,
              (select count(*)::int from system_events
                where event_type = 'DEVICE_CREATED' and system_events.entity_id = devices.id) as events,
              (select array_agg((metrics ->> 'v')::int order by received_at) from telemetry_frames
                where telemetry_frames.entity_id = devices.id) as values
            from devices where parent_device_id = ${deviceId} order by identifier`
          const all = Array.from({ length: rounds }, (_, round) => round)
          assert.deepStrictEqual(children, [
            { identifier: "always", events: 1, values: all },
            ...all.map((round) => ({ identifier: `round ${round}`, events: 1, values: [round] }))
          ])
        }
        const transactions = yield* sql<{ status: string; count: number }>`
          select status, count(*)::int as count from telemetry_transactions group by status`
        assert.deepStrictEqual(transactions, [{ status: "completed", count: rounds * 2 }])
      }),
    120_000
  )

  it.effect(
    "a relay publishes every event, in its entity's order, and what is kept of each id is that event once",
    () =>
      Effect.gen(function* () {
        const sql = yield* OwnerSql
        const log = yield* makeLog
        const { tenantId } = yield* insertGateway()
        // More than are relayed at once.
        yield* sql`
          insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at, payload)
          select gen_random_uuid(), ${tenantId}, 'DEVICE_ONLINE', 'device', md5((number % 7)::text)::uuid, 'info', now(),
            jsonb_build_object('number', number)
          from generate_series(1, 1200) as number order by number`
        for (const place of relayPlaces) assert.strictEqual(yield* log.killedAt("relay", place), "SIGKILL", place)
        const records = yield* Effect.andThen(relayEvents, recordsOf(Topics.events)).pipe(
          Effect.provide(Layer.fresh(log.bus))
        )
        const rows = yield* sql<{ id: string; entity: string; isPublished: boolean }>`
          select id, entity_id as entity, published_at is not null as "isPublished" from system_events order by sequence`
        assert.isTrue(rows.every(({ isPublished }) => isPublished))
        const kept = keptOf(records, "message-id")
        assert.isAbove(records.length, kept.size, "no kill made an event leave twice")
        const idsByEntity = (of: Iterable<readonly [string, string]>) =>
          Object.fromEntries(
            Array.from(
              Map.groupBy(of, ([, entity]) => entity),
              ([entity, ids]) => [entity, ids.map(([id]) => id)]
            )
          )
        assert.deepStrictEqual(
          idsByEntity(Array.from(kept, ([id, { key }]) => [id, key])),
          idsByEntity(rows.map(({ entity, id }) => [id, entity]))
        )
      }),
    120_000
  )
})
