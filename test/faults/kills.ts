/**
 * The ledger test: a sender in a process of its own writes down what it sends and what is acknowledged, while platform and
 * PostgreSQL are killed at random under steady load. Afterwards every acknowledged message must be there, once, in order.
 * @module
 */
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import type { Bus } from "@argusiq/layers/bus/Bus.ts"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { writeFileSync } from "node:fs"
import { setTimeout as sleep } from "node:timers/promises"
import { fileURLToPath } from "node:url"
import { type Device, eventually, nodeBinary, PlatformProcess } from "../support/PlatformProcess.ts"
import { isAlive } from "../support/processes.ts"
import { connectSuperuser } from "../support/superuser.ts"
import { inspect, type Query, readTopic, withDatabase, withLog } from "./inspection.ts"
import { type Holdings, judge, readLedger, total, type Verdict } from "./ledger.ts"
import { type SenderPlan } from "./sender.ts"
import { randomFrom } from "../support/random.ts"

export type Victim = "platform" | "postgres" | "both"

export interface KillPlan {
  readonly kills: number
  readonly seed: number
  readonly devices: number
  readonly messagesPerSecond: number
  /** The least and the most time from ready to kill. */
  readonly lifeMillis: readonly [number, number]
  /** The safeguard to turn off. */
  readonly unsafe?: string
  readonly victims?: ReadonlyArray<Victim>
}

export interface Kill {
  readonly victim: string
  /** Sent and not yet stored at that moment. */
  readonly notStored: number
  readonly notAcknowledged: number
  readonly dispatcher: number | undefined
  readonly normalizer: number | undefined
  readonly writer: number | undefined
  readonly rawWriter: number | undefined
  /** Records that a stage had passed on and would pass on again. */
  readonly redelivered: number | undefined
}

export interface KillReport {
  readonly kills: ReadonlyArray<Kill>
  readonly sent: number
  readonly repeatedByDevices: number
  readonly acknowledged: number
  readonly stored: number
  readonly verdict: Verdict
}

export const startSender = (plan: SenderPlan) => {
  const planFile = `${plan.ledger}.plan.json`
  writeFileSync(plan.ledger, "")
  writeFileSync(planFile, JSON.stringify(plan))
  const script = fileURLToPath(new URL("sender.ts", import.meta.url))
  const child = spawn(nodeBinary, [script, planFile], { stdio: ["pipe", "pipe", "inherit"] })
  let output = ""
  child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString()))
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()))
  return {
    kill: () => child.kill("SIGKILL"),
    /** Lets it send what is outstanding; fails when something was never acknowledged. */
    finish: async () => {
      child.stdin.end()
      await ended
      return JSON.parse(output.trim().split("\n").at(-1) ?? "{}") as { acknowledged: number; outstanding: number }
    }
  }
}

/** Of the version it is in, a reading says so by the name of a metric. */
export const ledgerTypeConfig = (version: number) => ({
  processingMode: "endpoint",
  extractionRules: {
    sequence: { path: "$.metrics.sequence", type: "numeric" },
    [`temperature${version}`]: { path: "$.metrics.temperature", type: "numeric" }
  }
})

export const createLedgerType = (platform: PlatformProcess): Promise<string> =>
  platform.createDeviceType(`Ledger ${Date.now()}`, ledgerTypeConfig(1))

export const prepareDevices = async (
  platform: PlatformProcess,
  count: number,
  chosenType?: string
): Promise<ReadonlyArray<Device>> => {
  const type = chosenType ?? (await createLedgerType(platform))
  const devices: Array<Device> = []
  for (let index = 0; index < count; index++) devices.push(await platform.createDevice(`Ledger ${index}`, type))
  return devices
}

/** Rows in telemetry_frames of a running platform. */
export const storedCount = async (dataDirectory: string): Promise<number> => {
  const sql = await connectSuperuser(dataDirectory)
  try {
    return (await sql.query<{ count: number }>("select count(*)::int as count from telemetry_frames"))[0]?.count ?? 0
  } finally {
    await sql.close()
  }
}

/** Reads out of a database and a log, wherever they are. */
export interface Sources {
  readonly query: Query
  readonly onLog: (reading: Effect.Effect<void, unknown, Bus>) => Promise<void>
}

/** Frames under a configuration that was not in force when their message was received, and devices whose latest value is not
 * that of their newest reading (of two of the same instant, the first). */
const staleStatement = `
  select 'message ' || (frame.metrics ->> 'sequence') || ' of device ' || entity_id || ', received ' || frame.received_at
    || ', has version ' || frame.config_version || ' with ' || frame.metrics as what
  from telemetry_frames frame
  join devices device on device.id = frame.entity_id
  where frame.metrics ? 'sequence' and (
    not frame.metrics ? ('temperature' || frame.config_version)
    or frame.config_version <> (
      select max(version.number) from device_type_versions version
      where version.device_type_id = device.device_type_id and version.state = 'published'
        and (version.number = 1 or version.effective_at <= frame.received_at)))
  union all
  select 'device ' || newest.entity_id || ' has as latest ' || coalesce(latest.metrics ->> 'sequence', 'nothing')
    || ', its newest reading is ' || newest.sequence
  from (
    select distinct on (entity_id) entity_id, ts, (metrics ->> 'sequence')::int as sequence
    from telemetry_frames where metrics ? 'sequence' order by entity_id, ts desc, (metrics ->> 'sequence')::int
  ) newest
  left join entity_latest latest using (entity_id)
  where (latest.metrics ->> 'sequence')::int is distinct from newest.sequence
    or coalesce((latest.older ->> 'sequence')::bigint, (extract(epoch from latest.newest_ts) * 1000000)::bigint)
      is distinct from (extract(epoch from newest.ts) * 1000000)::bigint`

/** What they hold of the devices' messages. */
export const readHoldings = async ({ query, onLog }: Sources, devices: ReadonlyArray<Device>): Promise<Holdings> => {
  const indexOf = new Map(devices.map((device, index) => [device.id, index]))
  const stored = devices.map((): Array<number> => [])
  const logged = devices.map((): Array<number> => [])
  const deadLettered = devices.map(() => new Set<number>())
  const rows = await query<{ device: string; sequences: ReadonlyArray<number> }>(
    `select entity_id::text as device, array_agg((metrics ->> 'sequence')::int) as sequences
     from telemetry_frames where metrics ? 'sequence' group by entity_id`
  )
  for (const row of rows) stored[indexOf.get(row.device) ?? -1]?.push(...row.sequences)
  const text = new TextDecoder()
  await onLog(
    Effect.gen(function* () {
      yield* readTopic(Topics.normalized, (record) => {
        const message = JSON.parse(text.decode(record.value)) as {
          readings: ReadonlyArray<{ metrics: { sequence: number } }>
        }
        for (const { metrics } of message.readings) logged[indexOf.get(record.key) ?? -1]?.push(metrics.sequence)
      })
      for (const topic of [Topics.raw, Topics.endpoint, Topics.normalized]) {
        yield* readTopic(deadLetterTopic(topic), (record) => {
          const sequence = /"sequence":(\d+)/.exec(text.decode(record.value))?.[1]
          if (sequence !== undefined) deadLettered[indexOf.get(record.key) ?? -1]?.add(Number(sequence))
        })
      }
    })
  )
  const stale = (await query<{ what: string }>(staleStatement)).map(({ what }) => what)
  return { stored, logged, deadLettered, stale }
}

/** What a stopped platform holds of the devices' messages. */
export const takeHoldings = (dataDirectory: string, devices: ReadonlyArray<Device>): Promise<Holdings> =>
  readHoldings(
    {
      query: (statement) => withDatabase(dataDirectory, (sql) => sql.query(statement)),
      onLog: (reading) => withLog(dataDirectory, reading)
    },
    devices
  )

const killPlatform = async (
  platform: PlatformProcess,
  ledger: string,
  devices: number,
  victim: Victim
): Promise<Kill> => {
  const postgres = platform.postgresPid
  if (victim === "both" && postgres !== undefined) process.kill(postgres, "SIGKILL")
  await platform.kill()
  const { acknowledged, sent } = readLedger(ledger, devices)
  if (postgres !== undefined) {
    await eventually("the end of PostgreSQL", 20, () => (isAlive(postgres) ? undefined : true))
  }
  const { backlog, redelivered, stored } = await inspect(platform.dataDirectory)
  return {
    victim,
    notStored: total(sent) - stored,
    notAcknowledged: total(sent) - total(acknowledged),
    ...backlog,
    redelivered
  }
}

const killPostgres = async (platform: PlatformProcess, ledger: string, devices: number): Promise<Kill> => {
  const postgres = await eventually("a running PostgreSQL", 20, () => platform.postgresPid)
  const before = await storedCount(platform.dataDirectory)
  process.kill(postgres, "SIGKILL")
  await sleep(150)
  const { acknowledged, sent } = readLedger(ledger, devices)
  await eventually("PostgreSQL's return", 30, () =>
    platform.postgresPid !== undefined && platform.postgresPid !== postgres ? true : undefined
  )
  return {
    victim: "postgres",
    notStored: total(sent) - before,
    notAcknowledged: total(sent) - total(acknowledged),
    dispatcher: undefined,
    normalizer: undefined,
    writer: total(acknowledged) - before,
    rawWriter: undefined,
    redelivered: undefined
  }
}

export const describeKill = (kill: Kill): string =>
  `${kill.victim.padEnd(8)} not stored ${kill.notStored}; not acknowledged ${kill.notAcknowledged}, ` +
  `dispatcher ${kill.dispatcher ?? "-"}, normalizer ${kill.normalizer ?? "-"}, writer ${kill.writer ?? "-"}, ` +
  `raw writer ${kill.rawWriter ?? "-"}; redelivered so far ${kill.redelivered ?? "-"}`

export const runKills = async (plan: KillPlan, print: (line: string) => void = console.log): Promise<KillReport> => {
  const random = randomFrom(plan.seed)
  const victims = plan.victims ?? ["platform", "postgres", "both"]
  const platform = await PlatformProcess.prepare(
    plan.unsafe === undefined ? {} : { entry: "test/faults/unsafe-platform.ts", env: { UNSAFE: plan.unsafe } }
  )
  const ledger = `${platform.dataDirectory}.ledger`
  let sender: ReturnType<typeof startSender> | undefined
  try {
    await platform.start()
    const devices = await prepareDevices(platform, plan.devices)
    sender = startSender({
      port: platform.mqttPort,
      ledger,
      devices,
      messagesPerSecond: plan.messagesPerSecond,
      maxOutstanding: 200,
      drainMillis: 120_000
    })
    const kills: Array<Kill> = []
    while (kills.length < plan.kills) {
      const [least, most] = plan.lifeMillis
      await sleep(least + random() * (most - least))
      const victim = victims[Math.floor(random() * victims.length)] ?? "platform"
      const kill =
        victim === "postgres"
          ? await killPostgres(platform, ledger, plan.devices)
          : await killPlatform(platform, ledger, plan.devices, victim)
      kills.push(kill)
      print(`kill ${kills.length} ${describeKill(kill)}`)
      if (victim !== "postgres") await platform.start()
      else await platform.ready()
    }
    const { outstanding } = await sender.finish()
    if (outstanding > 0) throw new Error(`${outstanding} messages were never acknowledged`)
    await drained(platform)
    await platform.stop()
    const book = readLedger(ledger, plan.devices)
    const holdings = await takeHoldings(platform.dataDirectory, devices)
    return {
      kills,
      sent: total(book.sent),
      repeatedByDevices: book.repeated,
      acknowledged: total(book.acknowledged),
      stored: holdings.stored.reduce((sum, sequences) => sum + sequences.length, 0),
      verdict: judge(book, holdings)
    }
  } finally {
    sender?.kill()
    await platform.dispose()
  }
}

/** Until the number of stored rows has stood still for 3 seconds. */
export const drained = async (platform: PlatformProcess): Promise<void> => {
  let last = -1
  let since = Date.now()
  await eventually(
    "storing everything",
    300,
    async () => {
      const count = await storedCount(platform.dataDirectory)
      if (count !== last) since = Date.now()
      last = count
      return Date.now() - since > 3000 ? true : undefined
    },
    250
  )
}
