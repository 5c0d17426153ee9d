/**
 * The audit copy: what the bridge accepted, and what it refused with the reason.
 * @module
 */
import { Poison } from "@argusiq/domain/errors.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { deadLetterTopic, Topics } from "@argusiq/domain/topics.ts"
import { isUuid } from "@argusiq/domain/uuid.ts"
import type { StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import type { Consumer, Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { type RawMessage, TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Effect, Result } from "effect"
import { SERVICE, storedMetrics } from "./storedMetrics.ts"

const BRIDGE_DEAD_LETTERS = deadLetterTopic(Topics.raw)

const uuidOrNull = (text: string | undefined) => (text !== undefined && isUuid(text) ? text : null)

const rawMessage = (record: StoredRecord): Result.Result<RawMessage, Poison> => {
  const { headers, offset, partition, topic, value } = record
  const messageId = uuidOrNull(headers["message-id"])
  const receivedAt = Number(headers["received-at"])
  if (messageId === null || !Number.isSafeInteger(receivedAt)) {
    return Result.fail(
      new Poison({ reason: "Undecodable", message: "The record has no valid message-id and received-at headers" })
    )
  }
  const sentBytes = Number(headers["payload-bytes"])
  const refused = topic === BRIDGE_DEAD_LETTERS
  return Result.succeed({
    messageId,
    tenantId: uuidOrNull(headers["tenant-id"]),
    deviceId: uuidOrNull(headers["device-id"]),
    receivedAt,
    payload: value,
    size: Number.isSafeInteger(sentBytes) ? sentBytes : value.byteLength,
    contentType: headers["content-type"] ?? "application/json",
    source: headers["source"] ?? "unknown",
    mqttTopic: headers["mqtt-topic"] ?? null,
    clientId: headers["client-id"] ?? null,
    topic,
    partition,
    offset,
    error: (refused && headers["dlq-reason"]) || null,
    errorReason: (refused && headers["dlq-message"]) || null
  })
}

/** What is replayed, and dead letters of later stages, are in the copy already, as they were accepted. */
const isOurs = ({ headers, topic }: StoredRecord) =>
  headers["replay-job"] === undefined && (topic !== BRIDGE_DEAD_LETTERS || headers["dlq-stage"] === "bridge")

export const rawWriter: Effect.Effect<Consumer, never, TelemetryStore> = Effect.gen(function* () {
  const store = yield* TelemetryStore
  const count = storedMetrics("telemetry_raw")
  const storeAll = (messages: ReadonlyArray<RawMessage>) =>
    Effect.andThen(store.storeRaw(messages), count(messages.length, messages))

  const process: Consumer["process"] = ({ records }) =>
    Effect.sync(() => {
      const messages: Array<RawMessage> = []
      const deadLetters: Array<Outcome["deadLetters"][number]> = []
      for (const record of records) {
        if (!isOurs(record)) continue
        const result = rawMessage(record)
        if (Result.isFailure(result)) {
          deadLetters.push({ record, error: result.failure })
          continue
        }
        messages.push(result.success)
      }
      if (messages.length === 0) return { publish: [], deadLetters }
      return { publish: [], deadLetters, rows: { values: messages, store: storeAll } }
    })

  return {
    service: SERVICE,
    group: Groups.rawCopy,
    topics: [Topics.raw, BRIDGE_DEAD_LETTERS],
    offsets: "postgres",
    maxWaitMillis: 250, // nobody waits for it
    process
  }
})
