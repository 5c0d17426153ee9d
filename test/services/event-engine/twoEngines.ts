/**
 * Event engines that share the partitions of a bus, as two processes do.
 * @module
 */
import { Groups } from "@argusiq/domain/pipeline.ts"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { eventEngine } from "@argusiq/event-engine/EventEngine.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import { ConsumerStatus, StatusRegistry } from "@argusiq/layers/bus/consumer/ConsumerStatus.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Exit, Layer, Scope } from "effect"
import { randomUUID } from "node:crypto"
import { testDatabase } from "../../support/postgres.ts"
import { until } from "../../layers/bus/ConsumerWorld.ts"
import { insertDevice } from "../../layers/profiles/registry.ts"
import { accepted, recordOf, register, type Registry, statusesOf, toldTo } from "./EngineWorld.ts"
import { LIMIT_SECONDS } from "./timelines.ts"

export const engineTopics: ReadonlyArray<string> = [Topics.normalized, Topics.connections].flatMap((topic) => [
  topic,
  deadLetterTopic(topic)
])

const SECOND = 1_000_000
const DEVICES = 60
/** Of them, from some time on. */
const SILENT = 20

/** Nothing is on its way to the engines that was received before. */
const everythingReadUntil = Effect.fnUntraced(function* (at: number) {
  const { partitions } = yield* Bus
  const sql = yield* OwnerSql
  yield* accepted(at)
  yield* sql`
    insert into consumer_offsets ("group", topic, partition, partition_time)
    select ${Groups.normalizer}, topic, partition, timestamptz 'epoch' + ${String(at)}::bigint * interval '1 microsecond'
    from unnest(${[Topics.endpoint, Topics.logicalDevices]}::text[]) as topic, generate_series(0, ${partitions - 1}) as partition
    on conflict ("group", topic, partition) do update set partition_time = excluded.partition_time`
})

/** A process, as far as an engine can tell: with a membership, caches and a memory of its own. */
const startEngine = Effect.fnUntraced(function* <E, R>(bus: Layer.Layer<Bus, E, R>) {
  const scope = yield* Scope.make()
  yield* Effect.addFinalizer(() => Scope.close(scope, Exit.void))
  const status = new StatusRegistry()
  const context = yield* Layer.buildWithScope(
    Layer.fresh(Layer.mergeAll(ProfileCache.layer({ size: 1_000 }), bus)),
    scope
  )
  yield* Effect.flatMap(eventEngine, runConsumer).pipe(
    Effect.provideService(ConsumerStatus, status),
    Effect.provide(context),
    Effect.forkIn(scope)
  )
  return {
    /** Numbers of the partitions that it has. */
    partitions: () => new Set(status.all().map(({ partition }) => partition)),
    stop: Scope.close(scope, Exit.void)
  }
})

const send = (registry: Registry, devices: ReadonlyArray<string>, at: number) =>
  Effect.flatMap(Bus, ({ publish }) =>
    publish(
      devices.map((deviceId, index) =>
        recordOf(registry, { kind: "message", deviceId, at: at + index, messageId: randomUUID(), children: [] })
      )
    )
  )

/** Declares the suite, on a bus that `bus` makes anew for each who uses it. */
export const twoEngines = <E>(name: string, bus: Layer.Layer<Bus, E>): void =>
  layer(testDatabase, { excludeTestServices: true })(name, (it) => {
    it.effect(
      "divide the partitions; when one stops the other tells of silence only, of each device once",
      () =>
        Effect.gen(function* () {
          const { partitions } = yield* Bus
          const registry = yield* register(1)
          const { deviceTypeId, tenantId } = registry
          const devices = yield* Effect.replicateEffect(insertDevice({ tenantId, deviceTypeId }), DEVICES)
          const online = Effect.map(statusesOf(tenantId), (statuses) =>
            devices.filter((deviceId) => statuses.get(deviceId)?.status === "online")
          )
          const start = (Math.floor(Date.now() / 1_000) - 3_600) * SECOND
          const one = yield* startEngine(bus)
          const other = yield* startEngine(bus)
          yield* until(
            "both have partitions, each of them one has",
            Effect.sync(() => {
              const [ofOne, ofOther] = [one.partitions(), other.partitions()]
              const all = new Set([...ofOne, ...ofOther])
              return (
                ofOne.size > 0 && ofOther.size > 0 && ofOne.size + ofOther.size === all.size && all.size === partitions
              )
            })
          )
          yield* send(registry, devices, start)
          yield* until(
            "all are online",
            Effect.map(online, ({ length }) => length === DEVICES)
          )
          yield* send(registry, devices, start + 50 * SECOND)
          yield* until(
            "all is read",
            Effect.map(
              Effect.flatMap(Bus, ({ lag }) => lag(Groups.eventEngine)),
              (lag) => lag.every(({ records }) => records === 0n)
            )
          )
          yield* everythingReadUntil(start + 95 * SECOND)
          yield* one.stop
          const stillHeard = devices.slice(SILENT)
          yield* send(registry, stillHeard, start + 100 * SECOND)
          yield* until(
            "the other has all partitions",
            Effect.sync(() => other.partitions().size === partitions)
          )
          yield* everythingReadUntil(start + 120 * SECOND)
          yield* until(
            "the silent ones are offline",
            Effect.map(online, ({ length }) => length === DEVICES - SILENT)
          )
          // Two more ticks: whoever is told wrongly is told by then.
          yield* Effect.sleep("2500 millis")
          assert.sameMembers(yield* online, stillHeard)
          const told = yield* toldTo(tenantId)
          assert.sameDeepMembers(told, [
            ...devices.map((deviceId, index) => ({
              deviceId,
              type: "DEVICE_ONLINE",
              at: start + index,
              reason: "message"
            })),
            ...devices.slice(0, SILENT).map((deviceId, index) => ({
              deviceId,
              type: "DEVICE_OFFLINE",
              at: start + (50 + LIMIT_SECONDS) * SECOND + index,
              reason: "silence"
            }))
          ])
        }).pipe(Effect.scoped, Effect.provide(Layer.fresh(bus))),
      120_000
    )
  })
