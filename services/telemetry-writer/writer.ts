/**
 * Readings into frames, latest values and last seen: the rows and the offset in one transaction.
 * @module
 */
import { Groups } from "@argusiq/domain/pipeline.ts"
import type { NormalizedMessage } from "@argusiq/domain/readings.ts"
import { parseNormalized } from "@argusiq/domain/record-json.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import type { Consumer, Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { makePauses } from "@argusiq/layers/bus/pauses.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Effect, Result } from "effect"
import { SERVICE, storedMetrics } from "./storedMetrics.ts"

/** Readings that one statement stores: what gateways send in a batch may be many times as many. */
const READINGS_A_STATEMENT = 5_000

/** In their order; a message is never parted. */
const statementsOf = (messages: ReadonlyArray<NormalizedMessage>): ReadonlyArray<ReadonlyArray<NormalizedMessage>> => {
  const parts: Array<ReadonlyArray<NormalizedMessage>> = []
  let from = 0
  let readings = 0
  for (const [index, message] of messages.entries()) {
    if (index > from && readings + message.readings.length > READINGS_A_STATEMENT) {
      parts.push(messages.slice(from, index))
      from = index
      readings = 0
    }
    readings += message.readings.length
  }
  parts.push(from === 0 ? messages : messages.slice(from))
  return parts
}

export const writer: Effect.Effect<Consumer, never, TelemetryStore> = Effect.gen(function* () {
  const store = yield* TelemetryStore
  const count = storedMetrics("telemetry_frames")
  const storeAll = (messages: ReadonlyArray<NormalizedMessage>) => {
    const readings = messages.reduce((sum, message) => sum + message.readings.length, 0)
    const stored = Effect.forEach(statementsOf(messages), (part) => store.storeReadings(part), { discard: true })
    return Effect.andThen(stored, count(readings, messages))
  }

  const process: Consumer["process"] = Effect.fnUntraced(function* ({ records }) {
    const messages: Array<NormalizedMessage> = []
    const deadLetters: Array<Outcome["deadLetters"][number]> = []
    const pause = makePauses()
    for (const record of records) {
      const result = parseNormalized(record)
      if (Result.isFailure(result)) {
        deadLetters.push({ record, error: result.failure })
        continue
      }
      const message = result.success
      messages.push(message)
      yield* pause(message.readings.length)
    }
    if (messages.length === 0) return { publish: [], deadLetters }
    return { publish: [], deadLetters, rows: { values: messages, store: storeAll } }
  })

  return {
    service: SERVICE,
    group: Groups.telemetryWriter,
    topics: [Topics.normalized],
    offsets: "postgres",
    process
  }
})
