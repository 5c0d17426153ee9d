/**
 * What a request's body holds: the payloads to store, or what is wrong with it and where.
 * @module
 */
import { type Fault } from "@argusiq/domain/http/problems.ts"
import { MAX_MESSAGES_PER_REQUEST } from "@argusiq/domain/http/ingest.ts"
import { decodeJson, structureLimits } from "@argusiq/domain/scan.ts"
import { Predicate, Result } from "effect"

export interface SentMessage {
  /** Undefined: application/json. */
  readonly contentType: string | undefined
  /** As the body names it: an id or an external id; undefined: the key's device. */
  readonly deviceId: string | undefined
  /** Leads to `deviceId` in the body. */
  readonly deviceIdPath: string
  readonly payload: Uint8Array
}

export interface MessageBody {
  readonly isArray: boolean
  readonly messages: ReadonlyArray<SentMessage>
}

/** Faults named in one answer. */
const MAX_FAULTS = 20
/** An array and its messages around payloads that reach the limit themselves. */
const limits = { depth: structureLimits.depth + 3, keys: structureLimits.keys * 100 }

const encoder = new TextEncoder()
const isScalar = (value: unknown) =>
  typeof value === "number" || typeof value === "string" || typeof value === "boolean"
const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  Predicate.isObject(value) && !Array.isArray(value)

const readMessage = (value: unknown, at: string, faults: Array<Fault>): void => {
  const fault = (path: string, message: string) => {
    if (faults.length < MAX_FAULTS) faults.push({ path, message })
  }
  const under = (key: string) => (at === "" ? key : `${at}.${key}`)
  if (!isPlainObject(value)) return fault(at, "must be an object with metrics or payload")
  if (value["deviceId"] !== undefined && (typeof value["deviceId"] !== "string" || value["deviceId"] === "")) {
    fault(under("deviceId"), "must be a device's id or external id")
  }
  if ("payload" in value) {
    if ("metrics" in value) fault(under("payload"), "must not stand beside metrics")
    return
  }
  const { metrics, timestamp, metadata } = value
  if (!isPlainObject(metrics)) fault(under("metrics"), "must be an object of numbers, texts and booleans")
  else {
    for (const [key, metric] of Object.entries(metrics)) {
      if (!isScalar(metric)) fault(under(`metrics.${key}`), "must be a number, a text or a boolean")
    }
  }
  if (timestamp !== undefined && typeof timestamp !== "string" && typeof timestamp !== "number") {
    fault(under("timestamp"), "must be ISO 8601 text or an epoch number")
  }
  if (metadata !== undefined && !isPlainObject(metadata)) fault(under("metadata"), "must be an object")
}

const sent = (message: Record<string, unknown>, at: string, asSent: Uint8Array | undefined): SentMessage => ({
  contentType: undefined,
  deviceId: typeof message["deviceId"] === "string" ? message["deviceId"] : undefined,
  deviceIdPath: at === "" ? "deviceId" : `${at}.deviceId`,
  payload:
    "payload" in message
      ? encoder.encode(JSON.stringify(message["payload"]))
      : (asSent ?? encoder.encode(JSON.stringify(message)))
})

/** All of the body or nothing: one fault anywhere refuses it. */
const readMessageBody = (body: Uint8Array): Result.Result<MessageBody, ReadonlyArray<Fault>> => {
  const decoded = decodeJson(body, limits)
  if (Result.isFailure(decoded)) return Result.fail([{ path: "", message: decoded.failure.message }])
  const value = decoded.success
  const faults: Array<Fault> = []
  if (!Array.isArray(value)) {
    readMessage(value, "", faults)
    return faults.length > 0
      ? Result.fail(faults)
      : Result.succeed({ isArray: false, messages: [sent(value as Record<string, unknown>, "", body)] })
  }
  if (value.length === 0 || value.length > MAX_MESSAGES_PER_REQUEST) {
    const message = `must hold 1 to ${MAX_MESSAGES_PER_REQUEST} messages, not ${value.length}`
    return Result.fail([{ path: "", message }])
  }
  value.forEach((message, index) => readMessage(message, `[${index}]`, faults))
  return faults.length > 0
    ? Result.fail(faults)
    : Result.succeed({ isArray: true, messages: value.map((message, index) => sent(message, `[${index}]`, undefined)) })
}

/** What senders say of JSON, and say without meaning it. */
const readAsJson = new Set(["", "application/json", "application/x-www-form-urlencoded", "text/plain"])

/**
 * The body of a request by its content type: JSON as {@link readMessageBody} reads it; of any other type it is one message of
 * the key's device, as the device's adapter reads it.
 */
export const readBody = (
  body: Uint8Array,
  contentType: string | undefined
): Result.Result<MessageBody, ReadonlyArray<Fault>> => {
  if (readAsJson.has((contentType ?? "").split(";")[0]!.trim().toLowerCase())) return readMessageBody(body)
  if (body.byteLength === 0) return Result.fail([{ path: "", message: "must not be empty" }])
  const message = { contentType, deviceId: undefined, deviceIdPath: "", payload: body }
  return Result.succeed({ isArray: false, messages: [message] })
}
