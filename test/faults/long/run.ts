/**
 * The long fault runs, by hand: `npm run test:faults [-- name …]`; `SEED` repeats a run of kills. All of them take
 * about an hour and need root for the small disk that one of them mounts, and Java, Redis and mosquitto for those on Kafka. Prints a table; exit code 1 when something did not hold.
 * @module
 */
import { table } from "../../../services/platform/table.ts"
import { type KillPlan, runKills } from "../kills.ts"
import { type Verdict } from "../ledger.ts"
import { MAX_RSS_ANON_BYTES } from "../memory.ts"
import { type AwayPlan, runPostgresAway } from "../postgresAway.ts"
import { assetDay } from "./assetRuns.ts"
import { chunkKills } from "./chunkKills.ts"
import { chunkOutage } from "./chunkOutage.ts"
import { chunkTimeout } from "./chunkTimeout.ts"
import { clusterRuns } from "./clusterRuns.ts"
import { type DiskFullPlan, runDiskFull } from "./diskFull.ts"
import { atLeast, atMost, counted, type Outcome, type Run, spotless, stagesHit } from "./outcome.ts"

const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000)
const mebibytes = (bytes: number) => `${Math.round(bytes / 1_048_576)} MiB`
const load = { devices: 50, messagesPerSecond: 2_000 } as const
const killing = { ...load, seed, lifeMillis: [500, 3_000] } as const

/** 60 kills, which must leave no trace and hit every stage. */
const kills = async (): Promise<Outcome> => {
  const { acknowledged, kills, repeatedByDevices, sent, stored, verdict } = await runKills({ ...killing, kills: 60 })
  const { hits, faults } = stagesHit(kills)
  const fewest = Math.min(...kills.map(({ notStored }) => notStored))
  const redelivered = Math.max(0, ...kills.map((kill) => kill.redelivered ?? 0))
  return {
    faults: [...spotless(verdict), ...atLeast("messages not yet stored at a kill", fewest, 100), ...faults],
    facts:
      `${sent} sent, ${acknowledged} acknowledged, ${stored} stored, ${repeatedByDevices} repeated by devices, ` +
      `${redelivered} by stages; hits ${hits}`
  }
}

/** Kills with a safeguard off: the ledger has to notice. */
const control = (unsafe: string, notices: keyof Verdict) => async (): Promise<Outcome> => {
  const plan: KillPlan = { ...killing, kills: 8, unsafe, victims: ["platform", "both"] }
  const { verdict } = await runKills(plan)
  return {
    faults: atLeast(`${notices}, which the ledger should have noticed`, verdict[notices].length, 1),
    facts: counted(verdict)
  }
}

const postgresAway = (plan: AwayPlan) => async (): Promise<Outcome> => {
  const report = await runPostgresAway(plan)
  return {
    faults: [
      ...spotless(report.verdict),
      ...atLeast("acknowledged meanwhile", report.acknowledgedMeanwhile, (plan.seconds * plan.messagesPerSecond) / 2),
      ...atMost("peak of RssAnon", report.peakRssAnonBytes, MAX_RSS_ANON_BYTES)
    ],
    facts:
      `${report.sent} sent, ${report.acknowledgedMeanwhile} acknowledged meanwhile, caught up in ` +
      `${report.caughtUpSeconds.toFixed(1)} s, peak ${mebibytes(report.peakRssAnonBytes)}`
  }
}

const diskFull = (plan: DiskFullPlan) => async (): Promise<Outcome> => {
  const report = await runDiskFull(plan)
  const isReal = plan.minFreeBytes === 0
  return {
    faults: [
      ...spotless(report.verdict),
      ...atMost("acknowledged without room", report.acknowledgedWhileFull, 0),
      ...atMost("peak of RssAnon", report.peakRssAnonBytes, MAX_RSS_ANON_BYTES),
      ...(isReal
        ? atLeast("refusals that PostgreSQL met", report.postgresErrors, 1)
        : atMost("refusals that PostgreSQL met", report.postgresErrors, 0))
    ],
    facts:
      `${report.sent} sent, the log refused (${report.refusal}), PostgreSQL met ${report.postgresErrors} refusals and was ` +
      `started again ${report.postgresRestarts} times, caught up in ${report.caughtUpSeconds.toFixed(1)} s, peak ` +
      mebibytes(report.peakRssAnonBytes)
  }
}

const full = { ...load, fullSeconds: 30 } as const
const runs: ReadonlyArray<Run> = [
  { name: "kills", shows: "60 kills lose, double and reorder nothing", run: kills },
  { name: "control-deduplication", shows: "is noticed", run: control("deduplicateReadings", "doubled") },
  { name: "control-offset", shows: "is noticed", run: control("offsetWithRows", "lost") },
  { name: "control-flush", shows: "is noticed", run: control("acknowledgeAfterFlush", "lost") },
  {
    name: "postgres-stopped",
    shows: "PostgreSQL away for 2 minutes",
    run: postgresAway({ ...load, how: "stopped", seconds: 120 })
  },
  {
    name: "postgres-frozen",
    shows: "PostgreSQL frozen for 30 s",
    run: postgresAway({ ...load, how: "frozen", seconds: 30 })
  },
  { name: "disk-full", shows: "the disk refuses", run: diskFull({ ...full, minFreeBytes: 0 }) },
  {
    name: "disk-threshold",
    shows: "the log refuses before the disk does",
    run: diskFull({ ...full, minFreeBytes: 256 * 1_048_576 })
  },
  {
    name: "chunks",
    shows: "65 kills of the chunker at every place between reading and published",
    run: chunkKills(seed)
  },
  {
    name: "chunk-timeout",
    shows: "an incomplete message is reported within 95 s of its first chunk",
    run: chunkTimeout
  },
  {
    name: "chunk-outage",
    shows: "no chunked message fails because the platform was away for five minutes",
    run: chunkOutage
  },
  {
    name: "assets",
    shows: "a day of 200 assets, killed once at every place: live, rebuilt and backtested are the same",
    run: assetDay(seed, {
      devices: 120,
      assets: 200,
      parents: 10,
      hours: 24,
      everySeconds: 60,
      killsAtEach: 1,
      maxRecords: 500,
      saveMillis: 3_000,
      times: 4
    })
  },
  {
    name: "asset-kills",
    shows: "hours of 60 assets, killed 60 times: live, rebuilt and backtested are the same",
    run: assetDay(seed, {
      devices: 40,
      assets: 60,
      parents: 4,
      hours: 6,
      everySeconds: 30,
      killsAtEach: 5,
      maxRecords: 100,
      saveMillis: 500,
      times: 4
    })
  },
  ...clusterRuns(seed)
]

const chosen = process.argv.slice(2)
const unknown = chosen.filter((name) => runs.every((run) => run.name !== name))
if (unknown.length > 0) {
  console.error(`No run is named ${unknown.join(", ")}. There are: ${runs.map(({ name }) => name).join(", ")}`)
  process.exit(2)
}

console.log(`seed ${seed} (SEED=${seed} repeats it)`)
const rows: Array<ReadonlyArray<string>> = []
let failed = 0
for (const { name, run, shows } of runs) {
  if (chosen.length > 0 && !chosen.includes(name)) continue
  console.log(`\n== ${name}: ${shows}`)
  const began = performance.now()
  const outcome = await run().catch((error: unknown): Outcome => ({ faults: [String(error)], facts: "" }))
  const seconds = Math.round((performance.now() - began) / 1000)
  for (const fault of outcome.faults) console.error(`FAILED ${name}: ${fault}`)
  console.log(outcome.facts)
  if (outcome.faults.length > 0) failed += 1
  rows.push([name, `${seconds} s`, outcome.faults.length === 0 ? "holds" : "FAILED", outcome.facts])
}
console.log(`\n${table(["run", "took", "result", "facts"], rows)}`)
process.exit(failed === 0 ? 0 : 1)
