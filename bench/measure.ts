/**
 * One run of the load and what came of it.
 * @module
 */
import { eventually } from "../test/support/PlatformProcess.ts"
import { cpuMicros } from "../test/support/processes.ts"
import { type LoadResult, type Phase } from "./load.ts"
import { type MemorySummary, watchMemory } from "./memory.ts"
import { type Options } from "./options.ts"
import { type Percentiles } from "./percentiles.ts"
import { openSlices, SLICED_FROM_SECONDS } from "./slices.ts"
import { spawnLoad } from "./spawnLoad.ts"
import { messagesStored, sizeOf, storedBetween } from "./stored.ts"
import { type World } from "./world.ts"

export interface Measured {
  readonly sent: number
  readonly acknowledged: number
  /** Rows, counted; of gateways' messages each has as many as children. */
  readonly stored: number
  readonly seconds: number
  /** From the first message until the last row can be queried. */
  readonly messagesPerSecond: number
  readonly publishToStoredMillis: Percentiles & { readonly max: number }
  readonly publishToAcknowledgedMillis: Percentiles
  readonly cpuMicrosPerMessage: Readonly<Record<"platform" | "postgres" | "kafka" | "broker" | "load", number>>
  readonly bytesPerValue: number
  readonly bytesPerAuditedMessage: number
  readonly memory: ReadonlyArray<MemorySummary>
  readonly phases: LoadResult["phases"]
}

const cpuOf = ({ broker, kafka, platform }: World) => ({
  platform: cpuMicros(platform.pid),
  postgres: cpuMicros(platform.postgresPid ?? 0, { withDescendants: true }),
  kafka: kafka === undefined ? 0 : cpuMicros(kafka.pid()),
  broker: broker === undefined ? 0 : cpuMicros(broker.pid)
})

const worst = (all: ReadonlyArray<Measured["publishToStoredMillis"]>): Measured["publishToStoredMillis"] => {
  const most = (of: (one: Measured["publishToStoredMillis"]) => number) => Math.max(...all.map(of))
  return {
    p50: most(({ p50 }) => p50),
    p95: most(({ p95 }) => p95),
    p99: most(({ p99 }) => p99),
    max: most(({ max }) => max)
  }
}

/** Waits until all that was acknowledged is stored, as far as it comes; then counts the rows. In a run of hours the percentiles are
 * those of the worst five minutes. */
export const measure = async (world: World, options: Options, phases: ReadonlyArray<Phase>): Promise<Measured> => {
  const { devices, sql, target } = world
  const seconds = phases.reduce((sum, phase) => sum + phase.seconds, 0)
  const slices = seconds < SLICED_FROM_SECONDS ? undefined : await openSlices(sql, seconds)
  const storedBefore = await messagesStored(sql)
  const sizeBefore = await sizeOf(sql, "telemetry_frames")
  const rawBefore = await sizeOf(sql, "telemetry_raw")
  const before = cpuOf(world)
  const memory = watchMemory(world, seconds)
  const { children, metrics, window } = options
  const readingsOfMessage = Math.max(1, children)
  const load = await spawnLoad({ target, devices, metrics, children, window, phases }, memory.loadStarted)
  // What is lost never comes: the rows tell below.
  await eventually(
    "storing the last message",
    seconds + 300,
    async () => ((await messagesStored(sql)) - storedBefore >= load.acknowledged ? true : undefined),
    100
  ).catch(() => undefined)
  const after = cpuOf(world)
  const summaries = memory.stop()
  const dropped = await slices?.stop()
  const startedAtMicros = load.phases[0]?.startedAtMicros ?? 0
  const last = await storedBetween(sql, startedAtMicros, (load.phases.at(-1)?.endedAtMicros ?? 0) + 1)
  const size = await sizeOf(sql, "telemetry_frames")
  const raw = await sizeOf(sql, "telemetry_raw")
  const frames = size.rows - sizeBefore.rows + (dropped?.rows.telemetry_frames ?? 0)
  const audited = raw.rows - rawBefore.rows + (dropped?.rows.telemetry_raw ?? 0)
  const took = (last.lastCommitMicros - startedAtMicros) / 1e6
  const stored = (last.frames + (dropped?.rows.telemetry_frames ?? 0)) / readingsOfMessage
  const perMessage = (micros: number) => micros / load.acknowledged
  return {
    sent: load.sent,
    acknowledged: load.acknowledged,
    stored,
    seconds: took,
    messagesPerSecond: stored / took,
    publishToStoredMillis: worst([last.millis, ...(dropped?.millis ?? [])]),
    publishToAcknowledgedMillis: load.acknowledgeMillis,
    cpuMicrosPerMessage: {
      platform: perMessage(after.platform - before.platform),
      postgres: perMessage(after.postgres - before.postgres),
      kafka: perMessage(after.kafka - before.kafka),
      broker: perMessage(after.broker - before.broker),
      load: perMessage(load.cpuMicros)
    },
    bytesPerValue: (size.bytes - sizeBefore.bytes + (dropped?.bytes.telemetry_frames ?? 0)) / frames / metrics,
    bytesPerAuditedMessage: (raw.bytes - rawBefore.bytes + (dropped?.bytes.telemetry_raw ?? 0)) / audited,
    memory: summaries,
    phases: load.phases
  }
}
