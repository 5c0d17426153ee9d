/**
 * What the chunker counts, once per batch or tick.
 * @module
 */
import { Metric } from "effect"

export const SERVICE = "chunker"

const counter = (name: string, description: string) =>
  Metric.withAttributes(Metric.counter(name, { description, incremental: true }), { service: SERVICE })

export const collected = counter("argusiq_collected_chunks_total", "Chunks that were stored with their group")
export const redelivered = counter("argusiq_redelivered_chunks_total", "Chunks that were there already")
export const reassembled = counter("argusiq_reassembled_messages_total", "Messages put together and published")
/** With the attribute `reason`. */
export const failed = counter("argusiq_failed_messages_total", "Chunks that went to the dead letters by themselves")
export const timeouts = counter("argusiq_chunk_timeouts_total", "Messages whose chunks did not all come in time")
export const openGroups = Metric.withAttributes(
  Metric.gauge("argusiq_open_chunk_groups", { description: "Messages whose chunks have not all come" }),
  { service: SERVICE }
)
