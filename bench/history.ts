/**
 * What history costs: storing as the tables grow and with the number of devices, bytes per value, a day of one metric as CSV
 * and in buckets, rolling up. A fresh embedded PostgreSQL of its own; frames of ten metrics by the real insert path.
 *
 *   node bench/history.ts [--frames 1000000] [--devices 10000]
 *
 * Prints tables.
 * @module
 */
import type { TenantId } from "@argusiq/domain/ids.ts"
import type { NormalizedMessage } from "@argusiq/domain/readings.ts"
import * as Migrate from "@argusiq/layers/database/migrate.ts"
import { framesTable, makePartition } from "@argusiq/layers/database/partitions.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as Rollups from "@argusiq/layers/telemetry/Rollups.ts"
import { type HistoryRequest, TelemetryHistory } from "@argusiq/layers/telemetry/TelemetryHistory.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Effect, Layer, Stream } from "effect"
import { randomUUID } from "node:crypto"
import { parseArgs } from "node:util"
import { CONNECTIONS, freshDatabase, serverMicros, storeReadings } from "./database.ts"
import { normalizedMessage, tenMetrics } from "./messages.ts"

const { values: options } = parseArgs({
  options: { frames: { type: "string", default: "1000000" }, devices: { type: "string", default: "10000" } }
})
const frames = Number(options.frames)
const devices = Number(options.devices)
const BATCH = 500
const METRICS = 10
const SECONDS = 86_400
const dayMillis = 86_400_000
/** Yesterday: what is measured is all in the past, and in one week's partition or two. */
const dayStart = Math.floor(Date.now() / dayMillis) * dayMillis - dayMillis
const tenantId = randomUUID()
const deviceTypeId = randomUUID()
const watched = randomUUID()

const messageOf = (deviceId: string, ts: number, index: number) =>
  normalizedMessage({ tenantId, deviceId, deviceTypeId, ts, receivedAt: ts + 5_000, metrics: tenMetrics(index) })

/** Devices that measure in turns, evenly from one instant (epoch microseconds) on, a second for `perSecond` frames. */
const fleet = (count: number, from: number, perSecond: number) => {
  const ids = Array.from({ length: count }, () => randomUUID())
  return (index: number) => messageOf(ids[index % count]!, from + Math.floor((index / perSecond) * 1_000_000), index)
}

/** A day of `total` frames in the order of time: the watched device measures every second, the others share the rest. */
const dayOf = (count: number, total: number) => {
  const others = fleet(count, dayStart * 1_000, Math.max(1, total - SECONDS) / SECONDS)
  let watchedSoFar = 0
  return (index: number) => {
    if (Math.floor(((index + 1) * SECONDS) / total) <= watchedSoFar) return others(index - watchedSoFar)
    return messageOf(watched, (dayStart + watchedSoFar++ * 1_000) * 1_000, index)
  }
}

const tellStored = (
  what: string,
  count: number,
  { millis, node, server }: { millis: number; node: number; server: number }
) =>
  console.log(
    `${what.padEnd(44)} ${((count / millis) * 1_000).toFixed(0).padStart(9)} ${(node / count).toFixed(1).padStart(8)} ` +
      `${(server / count).toFixed(1).padStart(8)} ${((node + server) / count).toFixed(1).padStart(8)}`
  )

const bench = Effect.gen(function* () {
  yield* Migrate.up()
  const owner = yield* OwnerSql
  const history = yield* TelemetryHistory
  yield* owner`insert into organizations (id, name, slug) values (${tenantId}, 'Bench', 'bench')`
  yield* owner`insert into device_types (id, tenant_id, name) values (${deviceTypeId}, ${tenantId}, 'Bench')`
  yield* owner`insert into devices (id, tenant_id, name, device_type_id)
    values (${watched}, ${tenantId}, 'Watched', ${deviceTypeId})`
  for (const at of [dayStart, dayStart + dayMillis]) yield* makePartition(owner, framesTable, at)
  const start = new Date(dayStart)
  yield* owner`update rollup_progress set rolled_before = ${start}, marked_before = ${start}`

  const measured = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
    const node = process.cpuUsage()
    const cpu = yield* serverMicros
    const started = performance.now()
    const value = yield* effect
    const millis = performance.now() - started
    const { system, user } = process.cpuUsage(node)
    return { value, millis, node: system + user, server: (yield* serverMicros) - cpu }
  })
  const storeFrames = (from: number, to: number, make: (index: number) => NormalizedMessage) =>
    Effect.forEach(
      Array.from({ length: Math.ceil((to - from) / BATCH) }, (_, batch) => from + batch * BATCH),
      (first) => {
        const batch = Array.from({ length: Math.min(BATCH, to - first) }, (_, index) => make(first + index))
        return storeReadings(batch)
      },
      { concurrency: CONNECTIONS, discard: true }
    )
  console.log(`storing in batches of ${BATCH}`.padEnd(44) + "  frames/s  node µs   pg µs     both")
  const make = dayOf(devices, frames)
  const step = Math.max(BATCH, Math.floor(frames / 10))
  for (let from = 0; from < frames; from += step) {
    const to = Math.min(frames, from + step)
    tellStored(`${devices} devices, frames ${from} to ${to}`, to - from, yield* measured(storeFrames(from, to, make)))
  }
  const [size] = yield* owner<{ bytes: number }>`
    select sum(pg_total_relation_size(inhrelid))::float8 as bytes from pg_inherits
    where inhparent = 'telemetry_frames'::regclass`
  console.log(`\nbytes per value, indexes included: ${((size?.bytes ?? 0) / frames / METRICS).toFixed(1)}\n`)

  const request: HistoryRequest = {
    deviceId: watched,
    metricKeys: ["temperature"],
    from: dayStart * 1_000,
    to: (dayStart + dayMillis) * 1_000,
    order: "asc",
    aggregation: "none",
    fn: "avg",
    limit: 10_000,
    cursor: undefined
  }
  const tenant = tenantId as TenantId
  console.log(`a day of one metric, ${SECONDS} values`.padEnd(44) + "   best ms  node ms    pg ms")
  const tell = Effect.fnUntraced(function* <E, R>(what: string, effect: Effect.Effect<number, E, R>) {
    const runs = []
    for (let run = 0; run < 7; run++) runs.push(yield* measured(effect))
    const best = runs.toSorted((a, b) => a.millis - b.millis)[0]!
    console.log(
      `${what.padEnd(44)} ${best.millis.toFixed(0).padStart(9)} ${(best.node / 1_000).toFixed(0).padStart(8)} ` +
        `${(best.server / 1_000).toFixed(0).padStart(8)}   ${best.value}`
    )
  })
  const csvBytes = Effect.flatMap(history.deviceCsv(tenant, { ...request, limit: undefined }), (stream) =>
    Stream.runFold(
      stream,
      () => 0,
      (bytes, chunk) => bytes + chunk.byteLength
    )
  )
  const buckets = (aggregation: HistoryRequest["aggregation"], fn: HistoryRequest["fn"] = "avg") =>
    Effect.map(history.device(tenant, { ...request, aggregation, fn }), ({ count }) => count)
  yield* tell("CSV (bytes)", csvBytes)
  for (const width of ["1m", "5m", "1h"] as const) yield* tell(`${width}, average (buckets)`, buckets(width))
  yield* tell("5m, last (buckets)", buckets("5m", "last"))
  const rolling = Effect.andThen(Rollups.advance(owner, Date.now()), Rollups.refresh(owner))
  const { value: hours, ...rolled } = yield* measured(rolling)
  yield* tell("1h, average, from rollups (buckets)", buckets("1h"))
  yield* tell("1d, average, from rollups (buckets)", buckets("1d"))
  console.log(
    `\nrolling up: ${hours} hours of devices in ${(rolled.millis / 1_000).toFixed(1)} s, ` +
      `${(rolled.server / frames).toFixed(2)} µs of PostgreSQL per frame\n`
  )

  console.log("by the number of devices".padEnd(44) + "  frames/s  node µs   pg µs     both")
  for (const count of [100, 10_000, 100_000]) {
    const total = 100_000
    const of = fleet(count, Date.now() * 1_000, 100_000)
    yield* storeFrames(0, total, of) // each device's latest value is there
    tellStored(`${count} devices`, total, yield* measured(storeFrames(total, 2 * total, of)))
  }
})

await Effect.runPromise(
  bench.pipe(
    Effect.provide(
      Layer.provideMerge(Layer.merge(TelemetryStore.layer, TelemetryHistory.layer), freshDatabase("history"))
    ),
    Effect.scoped
  )
)
