/**
 * What a consumer group counts: once per batch, and its lag once a second.
 * @module
 */
import { Effect, Metric } from "effect"

const records = Metric.counter("argusiq_consumer_records_total", {
  description: "Records that a consumer group is done with",
  incremental: true
})
const batchSize = Metric.histogram("argusiq_consumer_batch_size", {
  description: "Records per batch",
  boundaries: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000]
})
const deadLetters = Metric.counter("argusiq_consumer_dead_letters_total", {
  description: "Records and entries that went to a dead-letter topic",
  incremental: true
})
const passed = Metric.counter("argusiq_consumer_dead_letters_passed_total", {
  description:
    "Records of a dead-letter topic that could not be processed; they have no dead-letter topic of their own",
  incremental: true
})
const retries = Metric.counter("argusiq_consumer_retries_total", {
  description: "Attempts repeated because something was unavailable",
  incremental: true
})
const lagRecords = Metric.gauge("argusiq_consumer_lag_records", { description: "Records not yet processed" })
const lagSeconds = Metric.gauge("argusiq_consumer_lag_seconds", {
  description: "Age of the oldest record not yet processed"
})

export interface ConsumerMetrics {
  readonly batch: (topic: string, size: number) => void
  readonly deadLetters: (topic: string, reason: string, count: number) => void
  /** On a dead-letter topic: counted, not published again. */
  readonly passed: (topic: string, count: number) => void
  readonly retried: () => void
  readonly lag: (topic: string, records: number, seconds: number) => void
}

/** Counts into the metric registry of the fiber that makes it. */
export const make = (service: string, group: string) =>
  Effect.map(Effect.context<never>(), (context): ConsumerMetrics => {
    const ofTopic = new Map<string, ReturnType<typeof metricsOf>>()
    const metricsOf = (topic: string) => {
      const attributes = { service, group, topic }
      return {
        records: Metric.withAttributes(records, attributes),
        batchSize: Metric.withAttributes(batchSize, attributes),
        passed: Metric.withAttributes(passed, attributes),
        lagRecords: Metric.withAttributes(lagRecords, attributes),
        lagSeconds: Metric.withAttributes(lagSeconds, attributes)
      }
    }
    const of = (topic: string) => {
      let metrics = ofTopic.get(topic)
      if (metrics === undefined) ofTopic.set(topic, (metrics = metricsOf(topic)))
      return metrics
    }
    const groupRetries = Metric.withAttributes(retries, { service, group })
    return {
      batch: (topic, size) => {
        const metrics = of(topic)
        metrics.records.updateUnsafe(size, context)
        metrics.batchSize.updateUnsafe(size, context)
      },
      deadLetters: (topic, reason, count) =>
        Metric.withAttributes(deadLetters, { service, group, topic, reason }).updateUnsafe(count, context),
      passed: (topic, count) => of(topic).passed.updateUnsafe(count, context),
      retried: () => groupRetries.updateUnsafe(1, context),
      lag: (topic, lagging, seconds) => {
        const metrics = of(topic)
        metrics.lagRecords.updateUnsafe(lagging, context)
        metrics.lagSeconds.updateUnsafe(seconds, context)
      }
    }
  })
