/**
 * Readings into frames, latest values and last seen: the rows and the offset in one transaction.
 * @module
 */
import { Poison } from "@argusiq/domain/errors.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import type { NormalizedMessage } from "@argusiq/domain/readings.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import type { StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import type { Consumer, Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Effect, Result } from "effect"
import { SERVICE, storedMetrics } from "./storedMetrics.ts"

const decoder = new TextDecoder()

/** The normalizer's records are trusted; only what is no JSON at all is caught here. */
const decode = (record: StoredRecord): Result.Result<NormalizedMessage, Poison> =>
  Result.try({
    try: () => JSON.parse(decoder.decode(record.value)),
    catch: (cause) => new Poison({ reason: "Undecodable", message: `Not a normalized message: ${String(cause)}` })
  })

export const writer: Effect.Effect<Consumer, never, TelemetryStore> = Effect.gen(function* () {
  const store = yield* TelemetryStore
  const count = storedMetrics("telemetry_frames")

  const process: Consumer["process"] = ({ records }) =>
    Effect.sync(() => {
      const messages: Array<NormalizedMessage> = []
      const deadLetters: Array<Outcome["deadLetters"][number]> = []
      let readings = 0
      let receivedAt = Number.POSITIVE_INFINITY
      for (const record of records) {
        const result = decode(record)
        if (Result.isFailure(result)) {
          deadLetters.push({ record, error: result.failure })
          continue
        }
        const message = result.success
        messages.push(message)
        readings += message.readings.length
        receivedAt = Math.min(receivedAt, message.receivedAt)
      }
      if (messages.length === 0) return { publish: [], deadLetters }
      return {
        publish: [],
        deadLetters,
        store: Effect.andThen(store.storeReadings(messages), count(readings, receivedAt))
      }
    })

  return {
    service: SERVICE,
    group: Groups.telemetryWriter,
    topics: [Topics.normalized],
    offsets: "postgres",
    process
  }
})
