/**
 * What assets, health, rules and activities cost and how long they take: a fresh platform, driven from another process by
 * devices that are each linked to an asset, with breaches of rules at a known rate. Measured from the moment of sending to the
 * committed row. Prints tables.
 *
 *   node bench/alarms.ts [--rate 5000] [--duration 5m] [--assets 2000] [--with-parent 200] [--rules 5] [--breaches 2]
 *     [--ingest mqtt|webhook] [--profile DIR] [--json FILE]
 *
 * Three metrics a reading. `--with-parent`: so many of the assets have a parent, which rolls up what they come to. `--rules`:
 * active ones that each take every asset in, at least five, which are breached; two of devices besides. `--breaches` a second.
 * @module
 */
import { mkdirSync, writeFileSync } from "node:fs"
import { cpus, loadavg } from "node:os"
import { dirname } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { parseArgs } from "node:util"
import { eventually } from "../test/support/PlatformProcess.ts"
import { cpuMicros } from "../test/support/processes.ts"
import { readAges, readAgesInTime, readAlarms, readGroups } from "./alarmFigures.ts"
import { setUpAssets } from "./alarmsWorld.ts"
import { BREACH_METRICS, breachKinds } from "./breaches.ts"
import { watchMemory } from "./memory.ts"
import { parseSeconds, readOptions } from "./options.ts"
import * as report from "./report.ts"
import { spawnLoad } from "./spawnLoad.ts"
import { messagesStored } from "./stored.ts"
import { openWorld } from "./world.ts"

const WARM_UP_SECONDS = 8
/** After the load: as long as rows may still come. */
const PATIENCE_SECONDS = 300

const { values } = parseArgs({
  options: {
    rate: { type: "string", default: "5000" },
    duration: { type: "string", default: "5m" },
    assets: { type: "string", default: "2000" },
    "with-parent": { type: "string", default: "200" },
    rules: { type: "string", default: "5" },
    breaches: { type: "string", default: "2" },
    ingest: { type: "string", default: "mqtt" },
    profile: { type: "string" },
    json: { type: "string" }
  }
})
const rate = Number(values.rate)
const seconds = parseSeconds(values.duration)
const withParent = Number(values["with-parent"])

const round = (value: number, digits = 0) => Number(value.toFixed(digits))
const say = (text: string) => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`)

const options = readOptions([
  "--devices",
  values.assets,
  "--metrics",
  String(BREACH_METRICS),
  "--ingest",
  values.ingest,
  ...(values.profile === undefined ? [] : ["--profile", values.profile])
])
if (options === undefined) throw new Error("no options")

const startLoad = loadavg()[0] ?? 0
say("starting the platform and what it needs")
const world = await openWorld(options)
try {
  const { devices, platform, sql, target } = world
  const types = await setUpAssets(world, { rules: Number(values.rules), withParent })
  await sleep(3_000) // rules are in force two seconds after they are made
  const plan = { target, devices, metrics: BREACH_METRICS, window: options.window }
  say(`warming up, ${WARM_UP_SECONDS} s`)
  await spawnLoad({ ...plan, phases: [{ seconds: WARM_UP_SECONDS, messagesPerSecond: Math.min(rate, 2_000) }] })
  const lagging = async () => (await readGroups(platform.url)).filter(({ lag }) => lag > 0)
  const isDone = async () => ((await lagging()).length === 0 ? true : undefined)
  await eventually("the end of the warm-up", PATIENCE_SECONDS, isDone, 500)
  await sleep(2_000)

  say(`${rate} readings/s, ${seconds} s`)
  const storedBefore = await messagesStored(sql)
  const cpu = () => ({
    platform: cpuMicros(platform.pid),
    postgres: cpuMicros(platform.postgresPid ?? 0, { withDescendants: true })
  })
  const groupsBefore = await readGroups(platform.url)
  const before = cpu()
  const memory = watchMemory(world, seconds)
  const load = await spawnLoad(
    {
      ...plan,
      phases: [{ seconds, messagesPerSecond: rate }],
      breaches: { perSecond: Number(values.breaches), first: 0 }
    },
    memory.loadStarted
  )
  const groups = (await readGroups(platform.url)).flatMap(({ batches, group, lag, records }) => {
    const at = groupsBefore.find((one) => one.group === group)
    const many = batches - (at?.batches ?? 0)
    const perBatch = many === 0 ? 0 : (records - (at?.records ?? 0)) / many
    return many === 0
      ? []
      : [{ group, "lag at the end": lag, "batches/s": round(many / seconds), "records a batch": round(perBatch, 1) }]
  })
  const endedAt = performance.now()
  const stored = async () => ((await messagesStored(sql)) - storedBefore >= load.acknowledged ? isDone() : undefined)
  await eventually("processing the last message", PATIENCE_SECONDS, stored, 200).catch(() => undefined)
  const drainSeconds = (performance.now() - endedAt) / 1e3
  const after = cpu()
  const summaries = memory.stop()
  await sleep(3_000)

  const from = load.phases[0]?.startedAtMicros ?? 0
  const to = (load.phases[0]?.endedAtMicros ?? 0) + 1
  const ages = await readAges(sql, types, from, to)
  const alarms = await readAlarms(sql, from, to)
  const rows = (what: string) => ages.find((one) => one.what === what)?.rows ?? 0
  const perReading = (micros: number) => micros / load.acknowledged
  const spent = {
    platform: perReading(after.platform - before.platform),
    postgres: perReading(after.postgres - before.postgres),
    load: perReading(load.cpuMicros)
  }
  const raised = breachKinds.map(({ rule }, kind) => {
    const { alarms: found = 0, cleared = 0 } = alarms.get(rule.name) ?? {}
    return {
      rule: `${rule.name} (${rule.entityType})`,
      "breaches sent": load.breaches[kind] ?? 0,
      alarms: found,
      cleared
    }
  })
  const others = [...alarms.keys()].filter((name) => breachKinds.every(({ rule }) => rule.name !== name))

  console.table(
    ages.map(({ millis, rows, what }) => ({
      what,
      rows,
      "p50 ms": round(millis.p50),
      "p95 ms": round(millis.p95),
      "p99 ms": round(millis.p99),
      "max ms": round(millis.max)
    }))
  )
  console.log("reading → asset's health, ms, by the second of sending")
  console.table(await readAgesInTime(sql, types, from, to, seconds > 100 ? 30 : 10))
  console.table(raised)
  console.table(groups)
  console.table([
    {
      readings: load.acknowledged,
      "µs/reading platform": round(spent.platform),
      "µs/reading PostgreSQL": round(spent.postgres),
      "µs/reading load": round(spent.load),
      "acknowledged p99 ms": round(load.acknowledgeMillis.p99),
      "done after the end, s": round(drainSeconds, 1)
    }
  ])
  console.table(summaries.map(report.memoryRow))
  const sentBreaches = load.breaches.reduce((sum, one) => sum + one, 0)
  const problems = [
    ...(load.sent === load.acknowledged ? [] : [`${load.sent - load.acknowledged} not acknowledged`]),
    ...["reading → device's row", "reading → asset's health"].flatMap((what) =>
      rows(what) === load.acknowledged ? [] : [`${what}: ${rows(what)} rows of ${load.acknowledged} readings`]
    ),
    ...raised.flatMap((one) =>
      one.alarms === one["breaches sent"] && one.alarms === one.cleared
        ? []
        : [`${one.rule}: not an alarm for each breach`]
    ),
    ...others.map((name) => `alarms of ${name}, which nothing breaches`),
    ...(rows("event → activity") === sentBreaches ? [] : ["not an activity for each breach"])
  ]
  console.log(
    problems.length === 0
      ? `nothing lost: ${load.acknowledged} acknowledged = stored of devices = stored of assets, ${sentBreaches} breaches = alarms = activities`
      : problems.join("\n")
  )
  console.log(`${cpus().length} × ${cpus()[0]?.model}, load average ${startLoad.toFixed(1)} at the start`)
  if (values.json !== undefined) {
    mkdirSync(dirname(values.json), { recursive: true })
    const figures = { at: new Date().toISOString(), options: values, load, ages, raised, groups, drainSeconds, spent }
    writeFileSync(values.json, JSON.stringify({ ...figures, memory: summaries, problems }, null, 2))
  }
  if (values.profile !== undefined) await platform.stop()
  if (problems.length > 0) process.exitCode = 1
} catch (error) {
  console.error(world.platform.log().slice(-5_000))
  throw error
} finally {
  await world.dispose()
}
