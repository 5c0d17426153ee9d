/**
 * What a writer counts, once per batch.
 * @module
 */
import { Clock, Effect, Metric } from "effect"

export const SERVICE = "telemetry-writer"

const rows = Metric.counter("argusiq_stored_rows_total", { incremental: true })
const latency = Metric.histogram("argusiq_stored_latency_seconds", {
  description: "From received-at to stored, of the oldest message of each batch",
  boundaries: [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60, 300, 1_800]
})

/** Counts a batch that has just been stored. `receivedAt` in epoch microseconds, of its oldest message. */
export const storedMetrics = (table: string) => {
  const rowsOfTable = Metric.withAttributes(rows, { service: SERVICE, table })
  const latencyOfTable = Metric.withAttributes(latency, { service: SERVICE, table })
  return (count: number, receivedAt: number) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) =>
      Effect.andThen(Metric.update(rowsOfTable, count), Metric.update(latencyOfTable, now / 1e3 - receivedAt / 1e6))
    )
}
