/**
 * `npm run bench`: a fresh platform, driven from a separate process, measured from publishing to the stored row. `--help`
 * says what it can do.
 * @module
 */
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs"
import { cpus, loadavg, totalmem } from "node:os"
import { dirname, join } from "node:path"
import { setTimeout as sleep } from "node:timers/promises"
import { measureLimits } from "./limits.ts"
import { measure, type Measured } from "./measure.ts"
import { help, type Options, readOptions, UsageError } from "./options.ts"
import * as report from "./report.ts"
import { measureSpike } from "./spike.ts"
import { openWorld, type World } from "./world.ts"

const SHARE_OF_MAXIMUM = 0.7

interface Run {
  readonly name: string
  readonly measured: Measured
}

const say = (text: string) => console.error(`${new Date().toISOString().slice(11, 19)} ${text}`)

/** A quiet run, the steady run, and one at a share of what the steady run reached. */
const steadyRuns = async (world: World, options: Options): Promise<ReadonlyArray<Run>> => {
  const { lowRate, lowSeconds, rate, seconds } = options
  const runs: Array<Run> = []
  const run = async (name: string, phase: { readonly seconds: number; readonly messagesPerSecond?: number }) => {
    say(`${name}, ${phase.seconds} s`)
    const measured = await measure(world, options, [phase])
    runs.push({ name, measured })
    return measured
  }
  if (lowSeconds > 0) await run(`${lowRate} msg/s`, { seconds: lowSeconds, messagesPerSecond: lowRate })
  if (rate !== undefined) {
    await run(`${rate} msg/s`, { seconds, messagesPerSecond: rate })
    return runs
  }
  const { messagesPerSecond } = await run("as fast as it goes", { seconds })
  const most = Math.floor(messagesPerSecond * SHARE_OF_MAXIMUM)
  if (lowSeconds > 0) await run(`70 % of that`, { seconds: lowSeconds, messagesPerSecond: most })
  return runs
}

const machine = () => {
  const [cpu] = cpus()
  return {
    cores: cpus().length,
    model: cpu?.model ?? "unknown",
    memoryBytes: totalmem(),
    loadAverage: loadavg()[0] ?? 0
  }
}

/** The fullest: the platform wrote one at its first stop, too. */
const profileIn = (directory: string) =>
  readdirSync(directory)
    .filter((name) => name.endsWith(".cpuprofile"))
    .map((name) => join(directory, name))
    .toSorted((a, b) => statSync(b).size - statSync(a).size)[0]

const tell = (runs: ReadonlyArray<Run>, metrics: number) => {
  console.table(runs.map(({ measured, name }) => report.runRow(name, metrics, measured)))
  console.table(runs.map(({ measured, name }) => report.costRow(name, measured)))
  const longest = runs.toSorted((a, b) => b.measured.seconds - a.measured.seconds)[0]
  if (longest !== undefined) {
    console.log(`${longest.name}:`)
    console.table(longest.measured.memory.map(report.memoryRow))
  }
  for (const { measured, name } of runs) console.log(report.lossLine(name, measured))
}

const main = async (options: Options) => {
  const before = machine()
  say("starting the platform and what it needs")
  const world = await openWorld(options)
  for (const signal of ["SIGINT", "SIGTERM"]) {
    process.once(signal, () => void world.dispose().finally(() => process.exit(130)))
  }
  try {
    say(`warming up, ${options.warmUpSeconds} s`)
    await measure(world, options, [{ seconds: options.warmUpSeconds }])
    await sleep(1_000)
    const spike = options.spike ? await measureSpike(world, options) : undefined
    const runs = spike === undefined ? await steadyRuns(world, options) : [{ name: "all of it", measured: spike.run }]
    tell(runs, options.metrics * Math.max(1, options.children))
    if (spike !== undefined) {
      console.table(spike.parts.map(({ millis, part, stored }) => report.percentileRow(part, stored, millis)))
      const { recoveredAfterSeconds: seconds } = spike
      console.log(
        seconds === undefined ? "not as before at the end of the run" : `as before ${seconds} s after the spike`
      )
    }
    const keep = (limits: Awaited<ReturnType<typeof measureLimits>> | undefined) => {
      mkdirSync(dirname(options.json), { recursive: true })
      const figures = { at: new Date().toISOString(), machine: before, options, runs, spike, limits }
      writeFileSync(options.json, JSON.stringify(figures, null, 2))
    }
    keep(undefined)
    if (options.limits) {
      say("the limits of the machine")
      const limits = await measureLimits(world, options)
      keep(limits)
      const { p50, p99 } = limits.fsyncMillis
      console.table(limits.limits.map(report.limitRow))
      console.log(`write and fdatasync of 4 KiB: p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms`)
    }
    console.log(`${before.cores} × ${before.model}, load average ${before.loadAverage.toFixed(1)} at the start`)
    console.log(`as JSON: ${options.json}`)
    if (options.profile !== undefined) {
      await world.platform.stop()
      console.log(`profile: ${profileIn(options.profile)}; node_modules/.bin/node bench/flame.ts draws it`)
    }
    const all = runs.every(({ measured: { acknowledged, sent, stored } }) => sent === acknowledged && stored === sent)
    if (!all) process.exitCode = 1
  } catch (error) {
    console.error(world.platform.log().slice(-5_000))
    throw error
  } finally {
    await world.dispose()
  }
}

try {
  const options = readOptions(process.argv.slice(2))
  if (options === undefined) console.log(help)
  else await main(options)
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  console.error(`${error.message}\n\nnpm run bench -- --help tells the options.`)
  process.exitCode = 2
}
