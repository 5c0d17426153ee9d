/**
 * Rows of `dead_letters` as REST shows them.
 * @module
 */
import { type DeadLetterDetail, type DeadLetterItem, type DeadLetterState } from "@argusiq/domain/http/dead-letters.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"

type StoredState = "open" | "queued" | "publishing" | "retrying" | "resolved"

/** Instants in epoch microseconds. */
export interface DeadLetterRow {
  readonly id: string
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  readonly group: string
  readonly stage: string
  readonly reason: string
  readonly message: string
  readonly path: string | null
  readonly entry: number | null
  readonly device_id: string | null
  readonly message_id: string | null
  readonly headers: Readonly<Record<string, string>>
  readonly size: number
  readonly received: bigint
  readonly failed: bigint
  readonly state: StoredState
  readonly retries: number
  readonly retried: bigint | null
  readonly resolved: bigint | null
  readonly sorted: string
}

const states: Readonly<Record<StoredState, DeadLetterState>> = {
  open: "open",
  queued: "retrying",
  publishing: "retrying",
  retrying: "retrying",
  resolved: "resolved"
}

/** The stored states that are shown as this one. */
export const storedStates = (shown: DeadLetterState): ReadonlyArray<string> =>
  Object.entries(states).flatMap(([stored, state]) => (state === shown ? [stored] : []))

const iso = (micros: bigint) => isoFromMicros(Number(micros))
const isoOrNull = (micros: bigint | null) => (micros === null ? null : iso(micros))

export const toItem = (row: DeadLetterRow): DeadLetterItem => ({
  id: row.id,
  topic: row.topic,
  group: row.group,
  stage: row.stage,
  reason: row.reason,
  message: row.message,
  entry: row.entry,
  deviceId: row.device_id,
  messageId: row.message_id,
  receivedAt: iso(row.received),
  failedAt: iso(row.failed),
  size: row.size,
  retries: row.retries,
  state: states[row.state],
  retriedAt: isoOrNull(row.retried),
  resolvedAt: isoOrNull(row.resolved)
})

const MAX_TEXT_BYTES = 65_536
const MAX_HEX_BYTES = 4_096

const fatal = new TextDecoder("utf-8", { fatal: true })

/** The text of the bytes; one that is cut ends with a whole character. */
const textOf = (bytes: Uint8Array): string | null => {
  let end = Math.min(bytes.byteLength, MAX_TEXT_BYTES)
  if (end < bytes.byteLength) while (end > MAX_TEXT_BYTES - 4 && (bytes[end]! & 0xc0) === 0x80) end--
  try {
    return fatal.decode(bytes.subarray(0, end))
  } catch {
    return null
  }
}

/** A payload for people: as text where it is any, and as hex; both bounded. */
const shownPayload = (payload: Uint8Array): NonNullable<DeadLetterDetail["payload"]> => ({
  text: textOf(payload),
  hex: Buffer.from(payload.subarray(0, MAX_HEX_BYTES)).toString("hex"),
  truncated: payload.byteLength > MAX_TEXT_BYTES
})

/** `payload` is undefined where the topic no longer holds the record. */
export const toDetail = (row: DeadLetterRow, payload: Uint8Array | undefined): DeadLetterDetail => {
  const { "dlq-offset": offset, "dlq-partition": partition, "dlq-topic": topic } = row.headers
  return {
    ...toItem(row),
    error: { reason: row.reason, message: row.message, path: row.path },
    headers: row.headers,
    place: { topic: row.topic, partition: row.partition, offset: String(row.offset) },
    original: {
      topic: topic ?? "",
      partition: partition === undefined ? null : Number(partition),
      offset: offset ?? null
    },
    payload: payload === undefined ? null : shownPayload(payload)
  }
}
