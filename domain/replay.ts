/**
 * Replay: old messages are published again, under their own message id and received-at, so that the configuration of their
 * time applies. What is stored already is recognised by its ids and stays; what is missing is filled in.
 * @module
 */
import { Schema } from "effect"
import { DeviceId, DeviceTypeId, Instant, orElse } from "./ids.ts"
import { Topics } from "./topics.ts"

/** Where messages are taken from: the audit copy, or what the log still holds of the raw topic. */
export const ReplaySource = Schema.Literals(["raw", "topic"])
/** Where messages go to: the one topic from which everything else follows. */
export const ReplayTarget = Schema.Literals([Topics.raw])

/** What a replay job was asked for. Messages received from `from` up to but not including `to`; of all devices without either id. */
export const ReplayParameters = Schema.Struct({
  deviceId: Schema.optionalKey(DeviceId),
  deviceTypeId: Schema.optionalKey(DeviceTypeId),
  from: Instant,
  to: Instant,
  source: ReplaySource,
  targetStream: ReplayTarget,
  sideEffects: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(orElse(false)))
})
export type ReplayParameters = typeof ReplayParameters.Type

/** A message as the audit copy has it. Ids are trusted. */
export interface RawCopy {
  readonly messageId: string
  readonly tenantId: string
  readonly deviceId: string
  readonly receivedAt: Instant
  readonly payload: Uint8Array
  readonly contentType: string
  readonly source: string
  readonly mqttTopic: string | null
  readonly clientId: string | null
}

type Headers = Readonly<Record<string, string>>

export interface ReplayedRecord {
  readonly topic: string
  readonly key: string
  readonly value: Uint8Array
  readonly headers: Headers
}

const marked = (jobId: string, { sideEffects }: Pick<ReplayParameters, "sideEffects">): Headers => ({
  "replay-job": jobId,
  "side-effects": sideEffects ? "on" : "off"
})

/** A message of the audit copy as the bridge published it, marked as replayed. */
export const replayCopy = (message: RawCopy, jobId: string, parameters: ReplayParameters): ReplayedRecord => ({
  topic: parameters.targetStream,
  key: message.deviceId,
  value: message.payload,
  headers: {
    "message-id": message.messageId,
    "tenant-id": message.tenantId,
    "device-id": message.deviceId,
    "received-at": String(message.receivedAt),
    source: message.source,
    "content-type": message.contentType,
    ...(message.mqttTopic !== null && { "mqtt-topic": message.mqttTopic }),
    ...(message.clientId !== null && { "client-id": message.clientId }),
    ...marked(jobId, parameters)
  }
})

/** Whether a record of the raw topic is one to replay: the device's own message, not one that was replayed or retried. */
export const isReplayable = (
  headers: Headers,
  tenantId: string,
  isDevice: (deviceId: string) => boolean,
  { from, to }: Pick<ReplayParameters, "from" | "to">
): boolean => {
  const receivedAt = Number(headers["received-at"])
  return (
    headers["tenant-id"] === tenantId &&
    headers["replay-job"] === undefined &&
    headers["retry-of"] === undefined &&
    receivedAt >= from &&
    receivedAt < to &&
    isDevice(headers["device-id"] ?? "")
  )
}

/** A record of the raw topic, marked as replayed. */
export const replayRecord = (
  record: Omit<ReplayedRecord, "topic">,
  jobId: string,
  parameters: ReplayParameters
): ReplayedRecord => ({
  topic: parameters.targetStream,
  key: record.key,
  value: record.value,
  headers: { ...record.headers, ...marked(jobId, parameters) }
})
