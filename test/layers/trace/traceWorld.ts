/**
 * The whole pipeline, from the raw topic to activities, over a database and a log of its own, and traces of what it processes.
 * Each service starts when a test asks for it, so that a test can hold messages up.
 * @module
 */
import { activityCreator } from "@argusiq/activity-creator/ActivityCreator.ts"
import { assetHealth } from "@argusiq/asset-health/AssetHealth.ts"
import { assetMapping } from "@argusiq/asset-health/AssetMapping.ts"
import { chunker } from "@argusiq/chunker/Chunker.ts"
import { demux } from "@argusiq/demux/Demux.ts"
import { dispatcher } from "@argusiq/dispatcher/Dispatcher.ts"
import { assetRules, deviceRules } from "@argusiq/event-engine/rules/RuleEngine.ts"
import { deadLetterIndex } from "@argusiq/jobs/DeadLetterIndex.ts"
import { publishRetries, recoverRetries, settleRetries } from "@argusiq/jobs/deadLetterRetries.ts"
import { relayEvents } from "@argusiq/jobs/Relay.ts"
import { runConsumer, type Consumer } from "@argusiq/layers/bus/Consumer.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { DeadLetters } from "@argusiq/layers/dead-letters/DeadLetters.ts"
import * as AssetCache from "@argusiq/layers/profiles/AssetCache.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import * as RuleCache from "@argusiq/layers/profiles/RuleCache.ts"
import { GatewayChildren } from "@argusiq/layers/registry/GatewayChildren.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { AliasStore } from "@argusiq/layers/telemetry/AliasStore.ts"
import { Chunks } from "@argusiq/layers/telemetry/Chunks.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { MessageTraces } from "@argusiq/layers/trace/MessageTraces.ts"
import { normalizer } from "@argusiq/normalizer/Normalizer.ts"
import { rawWriter, writer } from "@argusiq/telemetry-writer/TelemetryWriter.ts"
import { type MessageTrace } from "@argusiq/domain/http/messages.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { uuidV7 } from "@argusiq/domain/uuid.ts"
import { assert } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { randomBytes, randomUUID } from "node:crypto"
import { testDatabase } from "../../support/postgres.ts"
import { testBus } from "../../services/dispatcher/topics.ts"
import { insertAsset, insertAssetType, link } from "../../services/asset-health/world.ts"
import { saveRule } from "../../services/event-engine/RuleWorld.ts"
import { type TestDevice } from "../profiles/registry.ts"

const profiles = RuleCache.layer({ size: 1_000 }).pipe(
  Layer.provideMerge(Layer.merge(ProfileCache.layer({ size: 1_000 }), AssetCache.layer({ size: 1_000 })))
)

export const traceWorld = Layer.mergeAll(
  profiles,
  GatewayChildren.layer,
  Chunks.layer,
  Transactions.layer,
  TelemetryStore.layer,
  AliasStore.layer,
  Sandbox.layer,
  DeadLetters.layer,
  MessageTraces.layer
).pipe(Layer.provideMerge(testBus), Layer.provideMerge(testDatabase), Layer.fresh)

const consume = <E, R>(consumer: Effect.Effect<Consumer, E, R>) => Effect.flatMap(consumer, runConsumer)

export const services = {
  dispatcher: consume(dispatcher),
  chunker: consume(chunker),
  demux: consume(demux),
  normalizer: consume(normalizer),
  writer: consume(writer),
  rawWriter: consume(rawWriter),
  assetMapping: consume(assetMapping),
  assetHealth: consume(assetHealth),
  deviceRules: consume(deviceRules()),
  assetRules: consume(assetRules()),
  activityCreator: consume(activityCreator),
  deadLetterIndex: consume(deadLetterIndex),
  relay: Effect.forever(Effect.andThen(relayEvents, Effect.sleep(50))),
  retries: Effect.forever(
    Effect.andThen(Effect.all([recoverRetries, publishRetries, settleRetries], { discard: true }), Effect.sleep(50))
  )
} as const
export type ServiceName = keyof typeof services

/** Runs all but some until the effect ends. */
export const whileRunning =
  (...without: ReadonlyArray<ServiceName>) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.gen(function* () {
      const fibers: Array<Fiber.Fiber<unknown, unknown>> = []
      for (const [name, service] of Object.entries(services)) {
        if (!without.some((one) => one === name))
          fibers.push(yield* Effect.forkChild(service as typeof services.dispatcher))
      }
      return yield* Effect.ensuring(effect, Fiber.interruptAll(fibers))
    })

export const messageId = (receivedAt: number) => uuidV7(receivedAt, randomBytes(10))

export const readerOf = ({ tenantId }: Pick<TestDevice, "tenantId">, isPlatformAdmin = false) => ({
  tenantId: tenantId as TenantId,
  isPlatformAdmin
})

export const traceOf = (reader: ReturnType<typeof readerOf>, id: string) =>
  Effect.flatMap(MessageTraces, (traces) => traces.trace(reader, id))

/** The trace once something holds of it; fails after 30 s with the last one. */
export const traceWhen = Effect.fnUntraced(function* (
  reader: ReturnType<typeof readerOf>,
  id: string,
  holds: (trace: MessageTrace) => boolean
) {
  const deadline = Date.now() + 30_000
  let last: unknown
  while (Date.now() < deadline) {
    const trace = yield* Effect.result(traceOf(reader, id))
    if (trace._tag === "Success" && holds(trace.success)) return trace.success
    last = trace
    yield* Effect.sleep(100)
  }
  return assert.fail(`not within 30 s: ${JSON.stringify(last, undefined, 2)}`)
})

export const statesOf = (trace: MessageTrace) =>
  Object.fromEntries(trace.stages.map(({ group, state }) => [group.replace("argusiq.", ""), state]))

/** An asset that the device measures, a rule that its `t` must not exceed 90, and the activity that this calls for. */
export const watchedBoiler = Effect.fnUntraced(function* ({ deviceId, tenantId }: TestDevice) {
  const sql = yield* OwnerSql
  const metricDefinitions = [{ key: "t", displayName: "Warmth", dataType: "numeric" }]
  const asset = yield* insertAsset(tenantId, yield* insertAssetType(tenantId, { metricDefinitions }))
  yield* link(tenantId, deviceId, asset)
  const [activityType, template] = [randomUUID(), randomUUID()]
  yield* sql`insert into activity_types (id, tenant_id, name) values (${activityType}, ${tenantId}, 'Repair')`
  yield* sql`insert into activity_templates (id, tenant_id, activity_type_id, name, trigger_event_type)
    values (${template}, ${tenantId}, ${activityType}, 'Look at the boiler', 'THRESHOLD_BREACH')`
  const ruleId = yield* saveRule(tenantId, { condition: { operator: ">", value: 90 }, cooldownSeconds: 0 })
  return { asset, ruleId }
})
