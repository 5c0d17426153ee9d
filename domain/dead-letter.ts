/**
 * What becomes of a record that can never be processed: it moves, bytes untouched, to the dead-letter topic of the topic it
 * was read from, and its headers say what was wrong, where and for whom.
 * @module
 */
import type { Poison } from "./errors.ts"
import type { Instant } from "./ids.ts"
import { deadLetterTopic } from "./topics.ts"
import { uuidV5 } from "./uuid.ts"

/** A record as it was read; the bridge's, which never were on the bus, have no position. */
export interface FailedRecord {
  readonly topic: string
  readonly key: string
  readonly value: Uint8Array
  readonly headers: Readonly<Record<string, string>>
  readonly partition?: number
  readonly offset?: bigint
}

export interface Failure {
  readonly record: FailedRecord
  /** Index of the one entry that failed; absent: the whole record. */
  readonly entry?: number
  readonly error: Poison
  readonly group: string
  /** The service that refused it. */
  readonly stage: string
  readonly failedAt: Instant
}

const namespace = "6f0c4b58-3a0e-5a53-9a5e-0d6a3ad5c0de"

/** UTF-16 units kept of a message or a path, so that a record at the limit of its topic fits the dead-letter topic with them. */
const longest = 2_000

const cut = (text: string) => text.slice(0, longest).toWellFormed()

const deadLetterId = ({ record, entry, group }: Failure): string => {
  const message = record.headers["message-id"] ?? `${record.partition ?? ""}:${record.offset ?? ""}`
  return uuidV5(namespace, JSON.stringify([group, record.topic, message, record.key, entry ?? null]))
}

/** The record to publish. The same failure gives the same `dlq-id`, and a retry that fails again keeps that of the first. */
export const deadLetterRecord = (failure: Failure) => {
  const { record, entry, error, group, stage, failedAt } = failure
  const headers = record.headers
  const retried = headers["retry-of"]
  const attempts = Number(headers["dlq-attempts"] ?? (retried === undefined ? 0 : 1)) + 1
  return {
    topic: deadLetterTopic(record.topic),
    key: record.key,
    value: record.value,
    headers: {
      ...headers,
      "dlq-id": retried ?? deadLetterId(failure),
      "dlq-group": group,
      "dlq-stage": stage,
      "dlq-reason": error.reason,
      "dlq-message": cut(error.message),
      ...(error.path === undefined ? {} : { "dlq-path": cut(error.path) }),
      "dlq-topic": record.topic,
      ...(record.partition === undefined ? {} : { "dlq-partition": String(record.partition) }),
      ...(record.offset === undefined ? {} : { "dlq-offset": String(record.offset) }),
      ...(entry === undefined ? {} : { "dlq-entry": String(entry) }),
      "dlq-attempts": String(Number.isFinite(attempts) ? attempts : 1),
      "dlq-failed-at": String(failedAt)
    }
  }
}
