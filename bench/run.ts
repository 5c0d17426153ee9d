/**
 * `npm run bench`: a fresh platform, driven from a separate process over real MQTT connections. Prints how many messages a
 * second it takes until the last row can be queried, how long a message takes from publishing to its row at a low rate,
 * and the processor time per message by process. Writes the same as JSON.
 *
 * Options: `--seconds 30`, `--devices 1000`, `--metrics 10`, `--window 10`, `--low-rate 100`, `--rate N` (instead of as
 * much as it takes), `--json FILE`, `--keep` (keeps the data directory), `--profile DIR` (a V8 profile of the platform),
 * `--mqtt external` (devices publish to a mosquitto, which the platform reads).
 * @module
 */
import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { cpus } from "node:os"
import { join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { parseArgs } from "node:util"
import { Mosquitto } from "../test/support/components/mosquitto.ts"
import { type Device, eventually, nodeBinary, PlatformProcess } from "../test/support/PlatformProcess.ts"
import { cpuMicros, rssAnonBytes } from "../test/support/processes.ts"
import { connectSuperuser, type Superuser } from "../test/support/superuser.ts"
import { fsyncMillis } from "./fsync.ts"
import { type LoadPlan, type LoadResult } from "./load.ts"

const { values: options } = parseArgs({
  options: {
    seconds: { type: "string", default: "30" },
    devices: { type: "string", default: "1000" },
    metrics: { type: "string", default: "10" },
    window: { type: "string", default: "10" },
    mqtt: { type: "string", default: "embedded" },
    rate: { type: "string" },
    "low-rate": { type: "string", default: "100" },
    "low-seconds": { type: "string" },
    json: { type: "string" },
    profile: { type: "string" },
    keep: { type: "boolean", default: false }
  }
})
const loadScript = fileURLToPath(new URL("load.ts", import.meta.url))

const runLoad = (plan: LoadPlan, directory: string): Promise<LoadResult> => {
  const file = join(directory, "load.json")
  writeFileSync(file, JSON.stringify(plan))
  return new Promise((resolve, reject) => {
    const child = spawn(nodeBinary, [loadScript, file], { stdio: ["ignore", "pipe", "inherit"] })
    let output = ""
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
    child.on("exit", (code) =>
      code === 0 ? resolve(JSON.parse(output.trim().split("\n").at(-1) ?? "")) : reject(new Error(`load: exit ${code}`))
    )
  })
}

interface Stored {
  readonly frames: number
  readonly lastCommitMicros: number
  readonly millis: { readonly p50: number; readonly p95: number; readonly p99: number; readonly max: number }
}

/** What has been stored of messages published since `fromMicros`; the age of a row is its commit time minus its own time. */
const stored = async (sql: Superuser, fromMicros: number): Promise<Stored> => {
  const [row] = await sql.query<Record<"frames" | "last" | "p50" | "p95" | "p99" | "max", number>>(
    `with stored as (
       select extract(epoch from pg_xact_commit_timestamp(xmin))::float8 as committed, extract(epoch from ts)::float8 as published
       from telemetry_frames where ts >= to_timestamp(${fromMicros}::float8 / 1e6))
     select count(*)::int as frames, max(committed) * 1e6 as last, max(committed - published) * 1e3 as max,
       percentile_cont(0.5) within group (order by committed - published) * 1e3 as p50,
       percentile_cont(0.95) within group (order by committed - published) * 1e3 as p95,
       percentile_cont(0.99) within group (order by committed - published) * 1e3 as p99
     from stored`
  )
  if (row === undefined) throw new Error("no answer from PostgreSQL")
  const { p50, p95, p99, max } = row
  return { frames: row.frames, lastCommitMicros: row.last, millis: { p50, p95, p99, max } }
}

const countSince = async (sql: Superuser, fromMicros: number) =>
  (
    await sql.query<{ frames: number }>(
      `select count(*)::int as frames from telemetry_frames where ts >= to_timestamp(${fromMicros}::float8 / 1e6)`
    )
  )[0]?.frames ?? 0

const measure = async (
  platform: PlatformProcess,
  broker: Mosquitto | undefined,
  sql: Superuser,
  plan: Omit<LoadPlan, "port" | "devices" | "metrics" | "window">,
  devices: ReadonlyArray<Device>
) => {
  const postgres = platform.postgresPid ?? 0
  const cpu = () => ({
    platform: cpuMicros(platform.pid),
    postgres: cpuMicros(postgres, { withDescendants: true }),
    broker: broker === undefined ? 0 : cpuMicros(broker.pid)
  })
  const before = cpu()
  let peakRssAnon = 0
  const watch = setInterval(() => (peakRssAnon = Math.max(peakRssAnon, rssAnonBytes(platform.pid))), 250)
  const load = await runLoad(
    {
      port: broker?.port ?? platform.mqttPort,
      devices,
      metrics: Number(options.metrics),
      window: Number(options.window),
      ...plan
    },
    platform.dataDirectory
  )
  await eventually(
    "storing the last message",
    300,
    async () => ((await countSince(sql, load.startedAtMicros)) >= load.acknowledged ? true : undefined),
    200
  )
  clearInterval(watch)
  const after = cpu()
  const result = await stored(sql, load.startedAtMicros)
  const perMessage = (micros: number) => micros / load.acknowledged
  return {
    sent: load.sent,
    acknowledged: load.acknowledged,
    stored: result.frames,
    messagesPerSecond: (result.frames * 1e6) / (result.lastCommitMicros - load.startedAtMicros),
    acknowledgedPerSecond: (load.acknowledged * 1e6) / (load.lastAcknowledgedAtMicros - load.startedAtMicros),
    publishToStoredMillis: result.millis,
    publishToAcknowledgedMillis: load.acknowledgeMillis,
    cpuMicrosPerMessage: {
      platform: perMessage(after.platform - before.platform),
      postgres: perMessage(after.postgres - before.postgres),
      broker: perMessage(after.broker - before.broker),
      load: perMessage(load.cpuMicros)
    },
    platformPeakRssAnonMegabytes: peakRssAnon / 1_048_576
  }
}

type Measured = Awaited<ReturnType<typeof measure>>
const row = (name: string, one: Measured) => ({
  run: name,
  messages: one.acknowledged,
  "msg/s stored": Math.round(one.messagesPerSecond),
  "values/s": Math.round(one.messagesPerSecond * Number(options.metrics)),
  "stored p50 ms": one.publishToStoredMillis.p50.toFixed(1),
  "p95 ms": one.publishToStoredMillis.p95.toFixed(1),
  "p99 ms": one.publishToStoredMillis.p99.toFixed(1),
  "PUBACK p99 ms": one.publishToAcknowledgedMillis.p99.toFixed(1),
  "µs/msg platform": one.cpuMicrosPerMessage.platform.toFixed(0),
  "µs/msg postgres": one.cpuMicrosPerMessage.postgres.toFixed(0),
  ...(options.mqtt === "external" && { "µs/msg broker": one.cpuMicrosPerMessage.broker.toFixed(0) }),
  "µs/msg load": one.cpuMicrosPerMessage.load.toFixed(0),
  "RssAnon MB": one.platformPeakRssAnonMegabytes.toFixed(0)
})

const main = async () => {
  const profiling = `--cpu-prof --cpu-prof-dir=${options.profile}`
  const broker = options.mqtt === "external" ? await Mosquitto.prepare({ devices: [] }) : undefined
  await broker?.start()
  const platform = await PlatformProcess.prepare({
    env: {
      ...(options.profile !== undefined && { NODE_OPTIONS: profiling }),
      ...(broker !== undefined && { MQTT_URL: broker.url })
    }
  })
  try {
    await platform.start()
    const setting = await connectSuperuser(platform.dataDirectory)
    await setting.query("alter system set track_commit_timestamp = on")
    await setting.close()
    await platform.stop()
    await platform.start()
    const sql = await connectSuperuser(platform.dataDirectory)
    const type = await platform.createDeviceType("Bench", { processingMode: "endpoint" })
    const devices: Array<Device> = []
    for (let index = 0; index < Number(options.devices); index++) {
      devices.push(await platform.createDevice(`Bench ${index}`, type))
    }
    await broker?.admit(devices)
    const warmUp = { seconds: 5, ...(options.rate === undefined ? {} : { messagesPerSecond: Number(options.rate) }) }
    await measure(platform, broker, sql, warmUp, devices)
    await sleep(1000)
    const low = await measure(
      platform,
      broker,
      sql,
      { seconds: Number(options["low-seconds"] ?? options.seconds), messagesPerSecond: Number(options["low-rate"]) },
      devices
    )
    const full = await measure(platform, broker, sql, { ...warmUp, seconds: Number(options.seconds) }, devices)
    const fsync = fsyncMillis(platform.dataDirectory)
    await sql.close()
    console.table([row(`${options["low-rate"]} msg/s`, low), row(options.rate ?? "as fast as it goes", full)])
    console.log(
      `fsync: p50 ${fsync.p50.toFixed(2)} ms, p99 ${fsync.p99.toFixed(2)} ms; ${cpus().length} × ${cpus()[0]?.model}`
    )
    if (full.stored !== full.acknowledged) console.log(`LOST: ${full.acknowledged} acknowledged, ${full.stored} stored`)
    if (options.json !== undefined) writeFileSync(options.json, JSON.stringify({ options, low, full, fsync }, null, 2))
  } catch (error) {
    console.error(platform.log().slice(-5000))
    throw error
  } finally {
    await platform.dispose({ keepFiles: options.keep })
    await broker?.dispose()
  }
}

await main()
