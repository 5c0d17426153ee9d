/**
 * What becomes of a record that can never be processed: it moves, bytes untouched, to the dead-letter topic of the topic it
 * was read from, and its headers say what was wrong, where and for whom.
 * @module
 */
import { Result } from "effect"
import { Poison } from "./errors.ts"
import type { Instant } from "./ids.ts"
import { deadLetterTopic } from "./topics.ts"
import { isUuid, uuidV5 } from "./uuid.ts"

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

/** Of the group whose refusals were never on the bus: they are retried by running its checks again. */
export const BRIDGE_GROUP = "argusiq.bridge"

/**
 * Whether it is the retry itself that failed again: in the group it was meant for, and of what was retried. What fails
 * further on, or entry by entry where the whole was retried, is a failure of its own.
 */
const failedAgain = ({ record, entry, group }: Failure): boolean => {
  const { "retry-entry": retriedEntry, "retry-group": retriedGroup, "retry-of": retried } = record.headers
  if (retried === undefined || (retriedGroup !== group && group !== BRIDGE_GROUP)) return false
  return entry === undefined || String(entry) === retriedEntry
}

/** The record to publish. The same failure gives the same `dlq-id`, and a retry that fails again keeps that of the first. */
export const deadLetterRecord = (failure: Failure) => {
  const { record, error, group, stage, failedAt } = failure
  // The address of a retry is not the dead letter's: no group would pass it by.
  const { "retry-entry": retriedEntry, "retry-group": _, ...headers } = record.headers
  const again = failedAgain(failure)
  const entry = failure.entry === undefined ? (again ? retriedEntry : undefined) : String(failure.entry)
  const attempts = again ? Number(headers["dlq-attempts"] ?? 1) + 1 : 1
  return {
    topic: deadLetterTopic(record.topic),
    key: record.key,
    value: record.value,
    headers: {
      ...headers,
      "dlq-id": (again ? headers["retry-of"] : undefined) ?? deadLetterId(failure),
      "dlq-group": group,
      "dlq-stage": stage,
      "dlq-reason": error.reason,
      "dlq-message": cut(error.message),
      ...(error.path === undefined ? {} : { "dlq-path": cut(error.path) }),
      "dlq-topic": record.topic,
      ...(record.partition === undefined ? {} : { "dlq-partition": String(record.partition) }),
      ...(record.offset === undefined ? {} : { "dlq-offset": String(record.offset) }),
      ...(entry === undefined ? {} : { "dlq-entry": entry }),
      "dlq-attempts": String(Number.isFinite(attempts) ? attempts : 1),
      "dlq-failed-at": String(failedAt)
    }
  }
}

/** What the headers of a record on a dead-letter topic say of it. */
export interface DeadLetter {
  readonly id: string
  readonly group: string
  readonly stage: string
  /** A {@link PoisonReason}, or that of another release. */
  readonly reason: string
  readonly message: string
  readonly path: string | null
  readonly entry: number | null
  /** Null where nobody can tell whose message it was. */
  readonly tenantId: string | null
  readonly deviceId: string | null
  readonly messageId: string | null
  /** 1 for the first failure; a retry that failed counts on. */
  readonly attempts: number
  readonly failedAt: Instant
  readonly receivedAt: Instant
}

const uuidOrNull = (text: string | undefined) => (text !== undefined && isUuid(text) ? text.toLowerCase() : null)

const countOf = (text: string | undefined, least: number): number | undefined => {
  const count = Number(text)
  return text !== undefined && Number.isSafeInteger(count) && count >= least && count <= 0x7fffffff ? count : undefined
}

const instantOf = (text: string | undefined): Instant | undefined => {
  const instant = Number(text)
  return text !== undefined && Number.isSafeInteger(instant) && instant >= 0 ? instant : undefined
}

const unreadable = (header: string) =>
  Result.fail(new Poison({ reason: "Undecodable", message: `The header ${header} is missing or has no such form` }))

/** Reads a record of a dead-letter topic; fails with the header that makes it none. */
export const readDeadLetter = (topic: string, headers: FailedRecord["headers"]): Result.Result<DeadLetter, Poison> => {
  const id = uuidOrNull(headers["dlq-id"])
  if (id === null) return unreadable("dlq-id")
  const { "dlq-group": group, "dlq-stage": stage, "dlq-reason": reason } = headers
  if (group === undefined || group === "") return unreadable("dlq-group")
  if (stage === undefined || stage === "") return unreadable("dlq-stage")
  if (reason === undefined || reason === "") return unreadable("dlq-reason")
  if (deadLetterTopic(headers["dlq-topic"] ?? "") !== topic) return unreadable("dlq-topic")
  const attempts = countOf(headers["dlq-attempts"], 1)
  if (attempts === undefined) return unreadable("dlq-attempts")
  const failedAt = instantOf(headers["dlq-failed-at"])
  if (failedAt === undefined) return unreadable("dlq-failed-at")
  return Result.succeed({
    id,
    group,
    stage,
    reason,
    message: headers["dlq-message"] ?? "",
    path: headers["dlq-path"] ?? null,
    entry: countOf(headers["dlq-entry"], 0) ?? null,
    tenantId: uuidOrNull(headers["tenant-id"]),
    deviceId: uuidOrNull(headers["device-id"]),
    messageId: uuidOrNull(headers["message-id"]),
    attempts,
    failedAt,
    receivedAt: instantOf(headers["received-at"]) ?? failedAt
  })
}

/** A tenant has too many dead letters in a topic from above the one on, and until no more than the other are left. */
const HIGH_ABOVE = 100
const LOW_UP_TO = 80

/** Whether unresolved dead letters are too many, after they were or were not. */
export const isHigh = (was: boolean, unresolved: number): boolean =>
  unresolved > HIGH_ABOVE || (was && unresolved > LOW_UP_TO)
