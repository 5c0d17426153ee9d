/**
 * What a writer counts, once per batch.
 * @module
 */
import type { Instant } from "@argusiq/domain/ids.ts"
import { Clock, Effect, Metric } from "effect"

export const SERVICE = "telemetry-writer"

const rows = Metric.counter("argusiq_stored_rows_total", { incremental: true })
const latency = Metric.histogram("argusiq_stored_latency_seconds", {
  description: "From received-at to stored, of the oldest message of each batch",
  boundaries: [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1_800]
})

/** Counts the rows that these messages have just come to. */
export const storedMetrics = (table: string) => {
  const rowsOfTable = Metric.withAttributes(rows, { service: SERVICE, table })
  const latencyOfTable = Metric.withAttributes(latency, { service: SERVICE, table })
  return (count: number, messages: ReadonlyArray<{ readonly receivedAt: Instant }>) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const oldest = messages.reduce((least, { receivedAt }) => Math.min(least, receivedAt), Infinity)
      return Effect.andThen(Metric.update(rowsOfTable, count), Metric.update(latencyOfTable, now / 1e3 - oldest / 1e6))
    })
}
