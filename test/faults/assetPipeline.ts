/**
 * A process with the pipeline from the raw topic to assets and alarms, over a log and a database that outlive it. It is killed
 * when it reaches a place, or after some frames; else it ends by itself with 0 once everything has been taken in and told.
 * Argument: JSON of {@link AssetPipeline}.
 */
import { assetHealth, SaveInterval } from "@argusiq/asset-health/AssetHealth.ts"
import { assetMapping } from "@argusiq/asset-health/AssetMapping.ts"
import { Failpoints as AssetFailpoints } from "@argusiq/asset-health/Failpoints.ts"
import { chunker } from "@argusiq/chunker/Chunker.ts"
import { demux } from "@argusiq/demux/Demux.ts"
import { dispatcher } from "@argusiq/dispatcher/Dispatcher.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { Failpoints as RuleFailpoints } from "@argusiq/event-engine/rules/Failpoints.ts"
import { assetRules, deviceRules } from "@argusiq/event-engine/rules/RuleEngine.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { type Consumer, runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import * as LocalBus from "@argusiq/layers/bus/local/LocalBus.ts"
import { pools } from "@argusiq/layers/database/connect.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import * as AssetCache from "@argusiq/layers/profiles/AssetCache.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import * as RuleCache from "@argusiq/layers/profiles/RuleCache.ts"
import { GatewayChildren } from "@argusiq/layers/registry/GatewayChildren.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { AliasStore } from "@argusiq/layers/telemetry/AliasStore.ts"
import { Chunks } from "@argusiq/layers/telemetry/Chunks.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { normalizer } from "@argusiq/normalizer/Normalizer.ts"
import { writer } from "@argusiq/telemetry-writer/TelemetryWriter.ts"
import { Clock, Effect, Layer, Redacted } from "effect"
import type { AssetPipeline } from "./assetProcess.ts"

const given = JSON.parse(process.argv[2]!) as AssetPipeline
const pool = { url: Redacted.make(given.url), maxConnections: 8, statementTimeout: 0 }
const profiles = RuleCache.layer({ size: 10_000 }).pipe(
  Layer.provideMerge(Layer.merge(ProfileCache.layer({ size: 10_000 }), AssetCache.layer({ size: 10_000 })))
)
const world = Layer.mergeAll(
  profiles,
  Chunks.layer,
  Transactions.layer,
  GatewayChildren.layer,
  TelemetryStore.layer,
  AliasStore.layer,
  Sandbox.layer
).pipe(
  Layer.provideMerge(pools({ owner: pool, pipeline: pool, app: pool })),
  Layer.provideMerge(LocalBus.layer({ directory: given.directory, minFreeBytes: 0 }))
)

let reached = 0
const dieIn = (stage: string) => (at: string) => {
  if (`${stage} ${at}` === given.place && ++reached === given.times) process.kill(process.pid, "SIGKILL")
}
if (given.killAfterMillis !== undefined) setTimeout(() => process.kill(process.pid, "SIGKILL"), given.killAfterMillis)
let waitsFor: unknown = "the world"
setTimeout(() => {
  console.error(`not settled in time: ${JSON.stringify(waitsFor)}`)
  process.exit(3)
}, given.withinMillis ?? 60_000)

/** Time as the wall clock has it, whatever has been processed: what partition time is there against. */
const byTheClock = (consumer: Consumer): Consumer => ({
  ...consumer,
  ...(consumer.tick !== undefined && { tick: (at, _, epoch) => consumer.tick!(at, Date.now() * 1_000, epoch) })
})
const timed = given.wallClock === true ? byTheClock : (consumer: Consumer) => consumer
const rules = {
  saveEveryMillis: given.saveMillis,
  ...(given.horizonMicros !== undefined && { horizonMicros: given.horizonMicros })
}

const lastMillis = Math.floor((given.sentUntil ?? Infinity) / 1_000)

/** For the first topic, which is the only one whose time the clock tells. */
const untilLast = Effect.map(Clock.Clock, (clock): Clock.Clock => {
  const millis = () => Math.min(clock.currentTimeMillisUnsafe(), lastMillis)
  return {
    currentTimeMillisUnsafe: millis,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanosUnsafe: () => clock.currentTimeNanosUnsafe(),
    currentTimeNanos: clock.currentTimeNanos,
    monotonicTimeNanosUnsafe: () => clock.monotonicTimeNanosUnsafe(),
    monotonicTimeNanos: clock.monotonicTimeNanos,
    sleep: (duration) => clock.sleep(duration)
  }
})

const run = <E, R>(consumer: Effect.Effect<Consumer, E, R>) =>
  Effect.forkChild(Effect.flatMap(consumer, (one) => runConsumer(timed(one))))

const groups = [
  Groups.dispatcher,
  Groups.normalizer,
  Groups.telemetryWriter,
  Groups.assetMapping,
  Groups.assetHealth,
  Groups.deviceRules,
  Groups.assetRules
]

const isQuiet = Effect.gen(function* () {
  const bus = yield* Bus
  for (const group of groups) {
    const lag = yield* bus.lag(group)
    waitsFor = { group, lag: lag.map(({ partition, records }) => [partition, Number(records)]) }
    if (lag.length === 0 || lag.some(({ records }) => records > 0n)) return false
  }
  return true
})

/** All has been read, time has passed everywhere, and nothing that was said may still be corrected. */
const untilSettled = Effect.gen(function* () {
  const sql = yield* PipelineSql
  for (let calm = 0; calm < 5; calm = (yield* isQuiet) ? calm + 1 : 0) yield* Effect.sleep(100)
  const since = new Date(Math.min(Date.now(), lastMillis)).toISOString()
  for (;;) {
    const [row] = yield* sql<{ behind: number; unsettled: number }>`
      select (select count(*)::int from consumer_offsets where "group" = any(${`{${groups.join(",")}}`}::text[])
          and partition_time < ${since}::timestamptz) as behind,
        (select count(*)::int from alarms where not settled) as unsettled`
    waitsFor = row
    if (row!.behind === 0 && (row!.unsettled === 0 || given.sentUntil !== undefined)) break
    yield* Effect.sleep(100)
  }
  // Two ticks of each partition.
  yield* Effect.sleep(2_200)
})

/** Batches as small as in quiet times, so that disorder goes across them. */
const inPieces = Effect.map(Bus, (bus) =>
  Bus.of({
    ...bus,
    subscribe: (options, handle) =>
      bus.subscribe({ ...options, maxRecords: given.maxRecords ?? options.maxRecords }, handle)
  })
)

await Effect.runPromise(
  Effect.gen(function* () {
    // Without the stages of gateways nobody knows how far time has come.
    yield* Effect.all([run(chunker), run(demux)])
    yield* Effect.provideServiceEffect(run(dispatcher), Clock.Clock, untilLast)
    yield* Effect.all([run(normalizer), run(writer), run(assetMapping), run(deviceRules(rules))])
    yield* Effect.all([run(Effect.provideService(assetHealth, SaveInterval, given.saveMillis)), run(assetRules(rules))])
    yield* untilSettled
  }).pipe(
    Effect.provideServiceEffect(Bus, inPieces),
    Effect.provide(world),
    Effect.provideService(AssetFailpoints, dieIn("assets")),
    Effect.provideService(RuleFailpoints, dieIn("rules"))
  )
)
process.exit(0)
