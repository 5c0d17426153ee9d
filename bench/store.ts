/**
 * What storing costs: frames per second, and CPU microseconds per frame in Node and in PostgreSQL, by size of batch and by
 * what the batch holds. A fresh embedded PostgreSQL of its own, four connections at a time. Prints a table.
 * @module
 */
import { uuidV7 } from "@argusiq/domain/uuid.ts"
import type { NormalizedMessage } from "@argusiq/domain/readings.ts"
import { pools } from "@argusiq/layers/database/connect.ts"
import * as EmbeddedPostgres from "@argusiq/layers/database/EmbeddedPostgres.ts"
import * as Migrate from "@argusiq/layers/database/migrate.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { type RawMessage, TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Effect, Layer } from "effect"
import { randomBytes, randomUUID } from "node:crypto"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"

const CONNECTIONS = 4
const DEVICES = 10_000
const tenantId = randomUUID()
const deviceTypeId = randomUUID()
const deviceIds = Array.from({ length: DEVICES }, () => randomUUID())
const payload = Buffer.from(JSON.stringify({ timestamp: "2026-01-29T10:00:00Z", metrics: metricsOf(0) }))
let clock = Date.now() * 1_000

function metricsOf(index: number) {
  return {
    temperature: 20 + (index % 50) / 10,
    humidity: 40.25,
    pressure: 1013.25 + (index % 7),
    voltage: 231.2,
    current: 4.25,
    power: 982.6 + (index % 100),
    energy: 12_345.678 + index,
    state: "running",
    open: index % 2 === 0,
    rssi: -65
  }
}

const newId = () => {
  clock += 100
  return uuidV7(clock, randomBytes(10))
}

/** `devices`: how many different devices a batch holds. */
const messageOf = (index: number, devices: number) => {
  const messageId = newId()
  const deviceId = deviceIds[index % devices]!
  const message = {
    messageId,
    tenantId,
    deviceId,
    receivedAt: clock,
    readings: [
      { readingId: randomUUID(), deviceId, ts: clock, deviceTypeId, typeVersion: 1, metrics: metricsOf(index) }
    ]
  }
  return message as unknown as NormalizedMessage // ids are branded; these are random UUIDs
}

const rawOf = (index: number): RawMessage => ({
  messageId: newId(),
  tenantId,
  deviceId: deviceIds[index % DEVICES]!,
  receivedAt: clock,
  payload,
  size: payload.byteLength,
  contentType: "application/json",
  source: "mqtt",
  mqttTopic: `devices/${deviceIds[index % DEVICES]}/telemetry`,
  clientId: "bench",
  topic: "telemetry.raw.v1",
  partition: index % 12,
  offset: BigInt(index),
  error: null,
  errorReason: null
})

/** The fields of /proc/<pid>/stat after the command. */
const statOf = (pid: number) => {
  try {
    const text = Fs.readFileSync(`/proc/${pid}/stat`, "utf8")
    return text.slice(text.lastIndexOf(")") + 2).split(" ")
  } catch {
    return undefined
  }
}
const TICK_MICROS = 10_000
/** CPU of the server and its children so far, in microseconds. */
const serverCpu = (pid: number) => {
  const pids = Fs.readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
  return pids
    .map((each) => ({ each, stat: statOf(each) }))
    .filter(({ each, stat }) => stat !== undefined && (each === pid || Number(stat[1]) === pid))
    .reduce((sum, { stat }) => sum + (Number(stat![11]) + Number(stat![12])) * TICK_MICROS, 0)
}

const measure = Effect.fnUntraced(function* <A, E, R>(
  name: string,
  pid: number,
  batches: ReadonlyArray<ReadonlyArray<A>>,
  store: (batch: ReadonlyArray<A>) => Effect.Effect<void, E, R>
) {
  const warmup = Math.ceil(batches.length / 5)
  const run = (from: number, to: number) =>
    Effect.forEach(batches.slice(from, to), store, { concurrency: CONNECTIONS, discard: true })
  yield* run(0, warmup)
  const frames = batches.slice(warmup).reduce((sum, batch) => sum + batch.length, 0)
  const node = process.cpuUsage()
  const server = serverCpu(pid)
  const started = performance.now()
  yield* run(warmup, batches.length)
  const seconds = (performance.now() - started) / 1_000
  const { system, user } = process.cpuUsage(node)
  const inNode = (system + user) / frames
  const inServer = (serverCpu(pid) - server) / frames
  console.log(
    `${name.padEnd(44)} ${(frames / seconds).toFixed(0).padStart(9)} ${inNode.toFixed(1).padStart(8)} ` +
      `${inServer.toFixed(1).padStart(8)} ${(inNode + inServer).toFixed(1).padStart(8)}`
  )
})

const batchesOf = <A>(rows: number, size: number, make: (index: number) => A) =>
  Array.from({ length: Math.ceil(rows / size) }, (_, batch) =>
    Array.from({ length: size }, (__, index) => make(batch * size + index))
  )

const bench = Effect.gen(function* () {
  const { pid } = yield* EmbeddedPostgres.EmbeddedPostgres
  const server = (yield* pid)!
  yield* Migrate.up()
  const owner = yield* OwnerSql
  const sql = yield* PipelineSql
  const store = yield* TelemetryStore
  yield* owner`insert into organizations (id, name, slug) values (${tenantId}, 'Bench', 'bench')`
  for (const table of ["telemetry_frames", "telemetry_raw"]) {
    yield* owner.unsafe(`create table ${table}_bench partition of ${table}
      for values from (now() - interval '1 day') to (now() + interval '1 day')`)
  }
  /** As the consumer loop stores: the offset in the transaction, the WAL flushed later. */
  const transaction = <E>(rows: Effect.Effect<void, E>) =>
    sql.withTransaction(Effect.andThen(sql`set local synchronous_commit = off`, rows))

  console.log(`${" ".repeat(44)}  frames/s  node µs   pg µs     both`)
  for (const size of [20, 100, 500, 2_000]) {
    const batches = batchesOf(20_000, size, (index) => messageOf(index, DEVICES))
    yield* measure(`readings, batches of ${size}, each its device`, server, batches, (batch) =>
      transaction(store.storeReadings(batch))
    )
  }
  const repeated = batchesOf(20_000, 500, (index) => messageOf(index, 50))
  yield* measure("readings, batches of 500, ten of each device", server, repeated, (batch) =>
    transaction(store.storeReadings(batch))
  )
  yield* measure("readings, batches of 500, redelivered", server, repeated, (batch) =>
    transaction(store.storeReadings(batch))
  )
  for (const size of [20, 500]) {
    const batches = batchesOf(20_000, size, rawOf)
    yield* measure(`audit copy, batches of ${size}`, server, batches, (batch) => transaction(store.storeRaw(batch)))
  }
})

const directory = Fs.mkdtempSync(Path.join(Os.tmpdir(), "argusiq-bench-store-"))
Fs.chmodSync(directory, 0o755)
const poolsOfServer = Layer.unwrap(
  Effect.map(EmbeddedPostgres.EmbeddedPostgres, (server) => {
    const pool = (role: "argusiq_owner" | "argusiq_pipeline" | "argusiq_app") => ({
      url: server.url(role),
      maxConnections: CONNECTIONS,
      statementTimeout: 0
    })
    return pools({ owner: pool("argusiq_owner"), pipeline: pool("argusiq_pipeline"), app: pool("argusiq_app") })
  })
)
try {
  await Effect.runPromise(
    bench.pipe(
      Effect.provide(
        TelemetryStore.layer.pipe(
          Layer.provideMerge(poolsOfServer),
          Layer.provideMerge(EmbeddedPostgres.layer({ directory: Path.join(directory, "postgres") }))
        )
      )
    )
  )
} finally {
  Fs.rmSync(directory, { recursive: true, force: true })
}
