/**
 * Ten times the load for some seconds, and the way back.
 * @module
 */
import { measure } from "./measure.ts"
import { type Options } from "./options.ts"
import { type Percentiles } from "./percentiles.ts"
import { p99BySecond, storedBetween } from "./stored.ts"
import { type World } from "./world.ts"

const DEFAULT_RATE = 1_000
const BEFORE_SECONDS = 20
const AFTER_SECONDS = 30
const TIMES = 10
/** A second is like before when its p99 is at most this many times that of before, or below the floor in milliseconds. */
const LIKE_BEFORE = 2
const FLOOR_MILLIS = 50

interface Part {
  readonly part: string
  readonly sent: number
  readonly stored: number
  readonly millis: Percentiles
}

/** Seconds after the spike from which on every second is like before; undefined: not within the run. */
export const recovery = (
  seconds: ReadonlyArray<{ readonly second: number; readonly p99: number }>,
  p99Before: number
): number | undefined => {
  const limit = Math.max(FLOOR_MILLIS, LIKE_BEFORE * p99Before)
  const lastBad = seconds.findLastIndex(({ p99 }) => p99 > limit)
  return lastBad === seconds.length - 1 ? undefined : (seconds[lastBad]?.second ?? -1) + 1
}

export const measureSpike = async (world: World, options: Options) => {
  const base = options.rate ?? DEFAULT_RATE
  const run = await measure(world, options, [
    { seconds: BEFORE_SECONDS, messagesPerSecond: base },
    { seconds: options.spikeSeconds, messagesPerSecond: base * TIMES },
    { seconds: AFTER_SECONDS, messagesPerSecond: base }
  ])
  const names = [`${base} msg/s before`, `${base * TIMES} msg/s for ${options.spikeSeconds} s`, `${base} msg/s after`]
  const parts: Array<Part> = []
  for (const [index, { endedAtMicros, sent, startedAtMicros }] of run.phases.entries()) {
    const { frames, millis } = await storedBetween(world.sql, startedAtMicros, endedAtMicros)
    parts.push({ part: names[index] ?? "", sent, stored: frames, millis })
  }
  const after = run.phases[2]
  const seconds = after === undefined ? [] : await p99BySecond(world.sql, after.startedAtMicros, after.endedAtMicros)
  return { run, parts, recoveredAfterSeconds: recovery(seconds, parts[0]?.millis.p99 ?? 0) }
}
