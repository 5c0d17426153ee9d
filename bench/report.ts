/**
 * The figures as tables for people.
 * @module
 */
import { type Limit } from "./limits.ts"
import { type Measured } from "./measure.ts"
import { type MemorySummary } from "./memory.ts"
import { type Percentiles } from "./percentiles.ts"

const round = (value: number, digits = 0) => Number(value.toFixed(digits))

export const runRow = (run: string, metrics: number, one: Measured) => ({
  run,
  messages: one.acknowledged,
  "msg/s stored": round(one.messagesPerSecond),
  "values/s": round(one.messagesPerSecond * metrics),
  "stored p50 ms": round(one.publishToStoredMillis.p50, 1),
  "p95 ms": round(one.publishToStoredMillis.p95, 1),
  "p99 ms": round(one.publishToStoredMillis.p99, 1),
  "acknowledged p99 ms": round(one.publishToAcknowledgedMillis.p99, 1),
  "bytes/value": round(one.bytesPerValue, 1)
})

export const costRow = (run: string, { cpuMicrosPerMessage }: Measured) => ({
  run,
  ...Object.fromEntries(
    Object.entries(cpuMicrosPerMessage)
      .filter(([, micros]) => micros > 0)
      .map(([process, micros]) => [`µs/msg ${process}`, round(micros)])
  )
})

export const memoryRow = (one: MemorySummary) => ({
  "memory, MB": one.what,
  min: round(one.minMegabytes),
  median: round(one.medianMegabytes),
  max: round(one.maxMegabytes),
  "first fifth": round(one.firstMegabytes),
  "last fifth": round(one.lastMegabytes),
  "slope a minute": round(one.slopeMegabytesPerMinute, 1)
})

export const limitRow = ({ cpuMicrosEach, perSecond, what }: Limit) => ({
  "alone on this machine": what,
  "per second": round(perSecond),
  "CPU µs each": round(cpuMicrosEach, 1)
})

export const percentileRow = (part: string, messages: number, { p50, p95, p99 }: Percentiles) => ({
  part,
  messages,
  "stored p50 ms": round(p50, 1),
  "p95 ms": round(p95, 1),
  "p99 ms": round(p99, 1)
})

/** One line: whether each acknowledged message is a stored row. */
export const lossLine = (run: string, { acknowledged, sent, stored }: Measured): string =>
  sent === acknowledged && stored === acknowledged
    ? `${run}: nothing lost, ${stored} acknowledged = stored`
    : `${run}: ${sent} sent, ${acknowledged} acknowledged, ${stored} stored: ${stored < acknowledged ? "LOST" : stored > acknowledged ? "DOUBLED" : "NOT ACKNOWLEDGED"}`
