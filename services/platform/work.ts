/**
 * The services that work without a port: the pipeline's consumers, and the jobs.
 * @module
 */
import { activityCreator } from "@argusiq/activity-creator/ActivityCreator.ts"
import { assetHealth } from "@argusiq/asset-health/AssetHealth.ts"
import { assetMapping } from "@argusiq/asset-health/AssetMapping.ts"
import { chunker } from "@argusiq/chunker/Chunker.ts"
import { demux } from "@argusiq/demux/Demux.ts"
import { dispatcher } from "@argusiq/dispatcher/Dispatcher.ts"
import { eventEngine } from "@argusiq/event-engine/EventEngine.ts"
import { assetRules, deviceRules } from "@argusiq/event-engine/rules/RuleEngine.ts"
import { deadLetterIndex } from "@argusiq/jobs/DeadLetterIndex.ts"
import * as Deliveries from "@argusiq/jobs/Deliveries.ts"
import * as JobRunner from "@argusiq/jobs/JobRunner.ts"
import * as Jobs from "@argusiq/jobs/Jobs.ts"
import type { Consumer } from "@argusiq/layers/bus/Consumer.ts"
import { run as runConsumer } from "@argusiq/layers/bus/consumer/run.ts"
import { normalizer } from "@argusiq/normalizer/Normalizer.ts"
import { rawWriter, writer } from "@argusiq/telemetry-writer/TelemetryWriter.ts"
import { Effect } from "effect"
import type { ServiceName } from "./services.ts"
import type { Worker } from "./workers.ts"

const consume = <E, R>(consumer: Effect.Effect<Consumer, E, R>) => Effect.flatMap(consumer, runConsumer)

type Needs<T> = T extends { readonly run: Effect.Effect<unknown, unknown, infer R> } ? R : never

const all = [
  { service: "dispatcher", name: "dispatcher", run: consume(dispatcher) },
  { service: "chunker", name: "chunker", run: consume(chunker) },
  { service: "demux", name: "demux", run: consume(demux) },
  { service: "normalizer", name: "normalizer", run: consume(normalizer) },
  { service: "telemetry-writer", name: "telemetry-writer", run: consume(writer) },
  { service: "telemetry-writer", name: "telemetry-writer (raw copy)", run: consume(rawWriter) },
  { service: "asset-health", name: "asset-health (mapping)", run: consume(assetMapping) },
  { service: "asset-health", name: "asset-health", run: consume(assetHealth) },
  { service: "event-engine", name: "event-engine", run: consume(eventEngine) },
  { service: "event-engine", name: "event-engine (rules of devices)", run: consume(deviceRules()) },
  { service: "event-engine", name: "event-engine (rules of assets)", run: consume(assetRules()) },
  { service: "activity-creator", name: "activity-creator", run: consume(activityCreator) },
  { service: "jobs", name: "jobs (dead-letter index)", run: consume(deadLetterIndex) },
  { service: "jobs", name: "jobs (replay, reprocess, rebuild)", run: JobRunner.run() },
  { service: "jobs", name: "jobs (deliveries)", run: Deliveries.run() },
  { service: "jobs", name: "jobs", run: Jobs.run() }
] as const

/** What the chosen services run, each for ever. */
export const workersOf = (services: ReadonlySet<ServiceName>): ReadonlyArray<Worker<Needs<(typeof all)[number]>>> =>
  all.filter(({ service }) => services.has(service))
