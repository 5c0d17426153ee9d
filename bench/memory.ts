/**
 * The memory of the processes of a run, sampled.
 * @module
 */
import { readFileSync } from "node:fs"
import { descendantsOf, rssAnonBytes } from "../test/support/processes.ts"
import { type World } from "./world.ts"

const MEBIBYTE = 1_048_576
const MAX_SAMPLES = 1_000
/** Of so many samples one looks at PostgreSQL: the kernel walks the pages of all its processes for it, 60 ms of a core. */
const SELDOM = 10

const kilobytes = (path: string, field: string): number => {
  try {
    return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(readFileSync(path, "utf8"))?.[1] ?? 0)
  } catch {
    return 0 // it ended in the meantime
  }
}
const rssBytes = (pid: number) => kilobytes(`/proc/${pid}/status`, "VmRSS") * 1024
/** With its share of what it shares, so that a sum over processes counts shared memory once. */
const pssBytes = (pid: number) => kilobytes(`/proc/${pid}/smaps_rollup`, "Pss") * 1024

export interface MemorySummary {
  readonly what: string
  readonly minMegabytes: number
  readonly medianMegabytes: number
  readonly maxMegabytes: number
  /** Medians of the first and of the last fifth of the run. */
  readonly firstMegabytes: number
  readonly lastMegabytes: number
  readonly slopeMegabytesPerMinute: number
}

interface Sample {
  readonly atMillis: number
  readonly bytes: number
}

const median = (values: ReadonlyArray<number>) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0

const mean = (values: ReadonlyArray<number>) => values.reduce((sum, value) => sum + value, 0) / (values.length || 1)

/** The slope by least squares. */
export const summary = (what: string, samples: ReadonlyArray<Sample>): MemorySummary => {
  const megabytes = samples.map(({ bytes }) => bytes / MEBIBYTE)
  const minutes = samples.map(({ atMillis }) => atMillis / 60_000)
  const [meanMinute, meanMegabytes] = [mean(minutes), mean(megabytes)]
  let [covariance, variance] = [0, 0]
  for (const [index, minute] of minutes.entries()) {
    covariance += (minute - meanMinute) * ((megabytes[index] ?? 0) - meanMegabytes)
    variance += (minute - meanMinute) ** 2
  }
  const fifth = Math.max(1, Math.floor(megabytes.length / 5))
  return {
    what,
    minMegabytes: Math.min(...megabytes),
    medianMegabytes: median(megabytes),
    maxMegabytes: Math.max(...megabytes),
    firstMegabytes: median(megabytes.slice(0, fifth)),
    lastMegabytes: median(megabytes.slice(-fifth)),
    slopeMegabytesPerMinute: variance === 0 ? 0 : covariance / variance
  }
}

/** Samples until it is stopped, every second or, in a long run, so seldom that a thousand samples cover it. */
export const watchMemory = (world: World, seconds: number) => {
  const { broker, kafka, platform } = world
  const postgres = platform.postgresPid
  const series = new Map<string, Array<Sample>>()
  const startedAt = performance.now()
  let loadPid: number | undefined
  const add = (what: string, bytes: number) => {
    if (bytes === 0) return // it has ended
    const samples = series.get(what) ?? []
    samples.push({ atMillis: performance.now() - startedAt, bytes })
    series.set(what, samples)
  }
  let taken = 0
  const sample = () => {
    add("platform RssAnon", rssAnonBytes(platform.pid))
    if (postgres !== undefined && taken++ % SELDOM === 0) {
      const processes = [postgres, ...descendantsOf(postgres)]
      add(
        "PostgreSQL, all processes",
        processes.reduce((sum, pid) => sum + pssBytes(pid), 0)
      )
    }
    if (kafka !== undefined) add("Kafka RSS", rssBytes(kafka.pid()))
    if (broker !== undefined) add("mosquitto RSS", rssBytes(broker.pid))
    if (loadPid !== undefined) add("load generator RSS", rssBytes(loadPid))
  }
  sample()
  const timer = setInterval(sample, Math.max(1000, (seconds * 1000) / MAX_SAMPLES))
  return {
    loadStarted: (pid: number) => (loadPid = pid),
    stop: (): ReadonlyArray<MemorySummary> => {
      clearInterval(timer)
      return [...series].map(([what, samples]) => summary(what, samples))
    }
  }
}
