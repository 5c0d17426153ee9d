/**
 * What replay and reprocessing get through, and what they cost live messages: a fresh platform with a history of messages in its
 * audit copy, live traffic from another process, first nothing beside it, then a replay of all of the history (its readings are
 * missing), then a reprocess job over the same messages. Prints a table.
 *
 *   node bench/replay.ts [--messages 1000000] [--live 1000] [--devices 200] [--profile DIR]
 * @module
 */
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { cpuMicros } from "../test/support/processes.ts"
import { type Superuser } from "../test/support/superuser.ts"
import { readOptions } from "./options.ts"
import { spawnLoad } from "./spawnLoad.ts"
import { storedBetween } from "./stored.ts"
import { openWorld, type World } from "./world.ts"

const { values } = parseArgs({
  options: {
    messages: { type: "string", default: "1000000" },
    live: { type: "string", default: "1000" },
    devices: { type: "string", default: "200" },
    profile: { type: "string" }
  }
})
const messages = Number(values.messages)
const live = Number(values.live)
const day = 86_400_000
/** As dense in time as a million messages a day, whatever their number: what rollups and pages cost depends on it. */
const historyMillis = (day * messages) / 1_000_000
const quietSeconds = 20

const round = (value: number) => Number(value.toFixed(1))
const say = (text: string) => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`)

/** Messages of ten metrics each, one after the other from two days ago on, from each device in turn. */
const fillHistory = async (sql: Superuser, from: number) => {
  await sql.query("set statement_timeout = 0")
  const metrics = Array.from({ length: 10 }, (_, metric) => `"metric_${metric}":${20 + metric}.5`).join(",")
  const step = `n * interval '${(historyMillis * 1_000) / messages} microseconds'`
  for (let first = 0; first < messages; first += 100_000) {
    await sql.query(
      `insert into telemetry_raw (message_id, tenant_id, device_id, received_at, payload, size, content_type,
         ingestion_source, topic, partition, "offset")
       select gen_random_uuid(), sender.tenant_id, sender.id, at, payload, length(payload), 'application/json', 'mqtt',
         'telemetry.raw.v1', 0, n
       from generate_series(${first}, ${Math.min(first + 100_000, messages) - 1}) n
       join (select id, tenant_id, row_number() over (order by id) - 1 as place, count(*) over () as everybody
         from devices where name like 'Bench %') sender on sender.place = n % sender.everybody
       cross join lateral (select to_timestamp(${from / 1_000}) + ${step} as at) received
       cross join lateral (select convert_to('{"timestamp":' || (extract(epoch from at) * 1000000)::bigint ||
         ',"metrics":{${metrics}}}', 'UTF8') as payload) sent
       order by n`
    )
  }
  await sql.query("vacuum analyze telemetry_raw")
}

interface Job {
  readonly jobId: string
  readonly status: string
  readonly progress: number
  readonly error: string | null
}

/** Seconds until the job has completed. */
const completed = async ({ platform }: World, path: string, body: object): Promise<number> => {
  const startedAt = performance.now()
  const { jobId } = await platform.api<Job>("POST", path, body)
  for (;;) {
    const job = await platform.api<Job>("GET", `/jobs/${jobId}`)
    if (job.status === "completed") return (performance.now() - startedAt) / 1_000
    if (job.status !== "running" && job.status !== "queued") throw new Error(`${job.status}: ${job.error}`)
    await sleep(200)
  }
}

/** Processor time so far, in microseconds. */
const cpuOf = ({ platform }: World) => ({
  platform: cpuMicros(platform.pid),
  postgres: cpuMicros(platform.postgresPid ?? 0, { withDescendants: true })
})

/** Live messages while something is done: how old they were when they were stored. */
const beside = async (world: World, name: string, seconds: number, work: () => Promise<number>) => {
  say(name)
  let ended = false
  const load = (async () => {
    while (!ended) {
      await spawnLoad({
        target: world.target,
        devices: world.devices,
        metrics: 10,
        window: 100,
        phases: [{ seconds, messagesPerSecond: live }]
      })
    }
  })()
  await sleep(3_000)
  const startedAt = Date.now() * 1_000
  const before = cpuOf(world)
  const took = await work()
  const endedAt = Date.now() * 1_000
  const after = cpuOf(world)
  ended = true
  await load
  await sleep(3_000)
  const { frames, millis } = await storedBetween(world.sql, startedAt, endedAt)
  return {
    beside: name,
    seconds: round(took),
    "jobs msg/s": name === "nothing" ? 0 : Math.round(messages / took),
    "platform cpu": round((after.platform - before.platform) / 1e6 / took),
    "postgres cpu": round((after.postgres - before.postgres) / 1e6 / took),
    "live stored": frames,
    "live p50 ms": round(millis.p50),
    "live p95 ms": round(millis.p95),
    "live p99 ms": round(millis.p99)
  }
}

const profile = values.profile === undefined ? [] : ["--profile", values.profile]
const options = readOptions(["--devices", values.devices, ...profile])
if (options === undefined) throw new Error("no options")
const world = await openWorld(options)
try {
  const { sql } = world
  const from = Date.now() - 2 * day
  say(`${messages} messages of history`)
  await fillHistory(sql, from)
  const span = {
    startTime: new Date(from).toISOString(),
    endTime: new Date(from + historyMillis + 1_000).toISOString()
  }
  const [type] = await sql.query<{ id: string }>("select id from device_types where name = 'Bench'")
  const rows = [
    await beside(world, "nothing", quietSeconds, async () => {
      await sleep(quietSeconds * 1_000)
      return quietSeconds
    }),
    await beside(world, "replay", 20, () =>
      completed(world, "/telemetry/replay", { ...span, source: "raw", targetStream: "telemetry.raw.v1" })
    ),
    await beside(world, "reprocess", 20, () =>
      completed(world, `/device-types/${type?.id}/reprocess`, { from: span.startTime, to: span.endTime })
    )
  ]
  console.table(rows)
  const [{ n } = { n: 0 }] = await sql.query<{ n: number }>(
    `select count(*)::int as n from telemetry_frames where ts < to_timestamp(${(from + historyMillis + 1_000) / 1_000})`
  )
  if (values.profile !== undefined) await world.platform.stop()
  console.log(`${n} of ${messages} readings stored`)
  if (n !== messages) process.exitCode = 1
} catch (error) {
  console.error(world.platform.log().slice(-5_000))
  throw error
} finally {
  await world.dispose()
}
