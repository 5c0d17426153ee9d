/**
 * Turns a message into the record it becomes: on the raw topic, or on its dead-letter topic with the reason.
 * @module
 */
import { type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { checkArrival, envelopeHeaders, parseTelemetryTopic, type TelemetryTopic } from "@argusiq/domain/bridge.ts"
import { deadLetterRecord } from "@argusiq/domain/dead-letter.ts"
import { type DeviceProfile } from "@argusiq/domain/device-type.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import { publishPermission } from "@argusiq/domain/mqtt-permission.ts"
import { truncateOversized } from "@argusiq/domain/oversized.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { parseTraceparent } from "@argusiq/domain/traceparent.ts"
import { uuidV7 } from "@argusiq/domain/uuid.ts"
import { Result } from "effect"
import { randomFillSync } from "node:crypto"
import { type Incoming } from "./Incoming.ts"

const GROUP = "argusiq.bridge"
const STAGE = "bridge"
const MAX_TOPIC_HEADER_UNITS = 1_024

let lastMicros = 0
/** Epoch microseconds of the wall clock, never the same and never less than before in this process. */
export const nextReceivedAt = (): number => (lastMicros = Math.max(lastMicros + 1, Date.now() * 1000))

const randomPool = new Uint8Array(4_000)
let randomAt = randomPool.length
/** What the bridge gives every message: its id (a UUIDv7) and when it came, in epoch microseconds. */
export interface Stamp {
  readonly messageId: string
  readonly receivedAt: number
}
export const nextStamp = (): Stamp => {
  const receivedAt = nextReceivedAt()
  if (randomAt === randomPool.length) {
    randomFillSync(randomPool)
    randomAt = 0
  }
  randomAt += 10
  return { messageId: uuidV7(receivedAt, randomPool, randomAt - 10), receivedAt }
}

/** What a message addresses: the device itself, where it came without a topic. */
export const addressOf = ({ origin, topic }: Incoming): TelemetryTopic => {
  if (topic !== undefined) return parseTelemetryTopic(topic)
  if (origin.sender !== undefined) {
    return { _tag: "ByDeviceId", deviceId: origin.sender.deviceId, organizationId: undefined }
  }
  return parseTelemetryTopic("")
}

const mismatch = (reason: "InvalidTopic" | "TenantMismatch", message: Incoming, address: TelemetryTopic) => {
  const permission = publishPermission(message.origin.sender!, address)
  const why = permission._tag === "Refused" ? permission.message : "This topic belongs to another device."
  return new Poison({ reason, message: why, path: "mqtt-topic" })
}

/** Why a message may not enter whatever device its address leads to; undefined when that has to be looked at. */
export const refusedByAddress = (message: Incoming, address: TelemetryTopic): Poison | undefined => {
  if (address._tag === "Invalid") return address.error
  const { sender } = message.origin
  return sender !== undefined && address.organizationId !== undefined && address.organizationId !== sender.tenantId
    ? mismatch("TenantMismatch", message, address)
    : undefined
}

/** Whether a message may enter, once it is known which device its address leads to (`undefined`: to none). */
export const judge = (
  message: Incoming,
  address: TelemetryTopic,
  device: DeviceProfile | undefined
): Result.Result<DeviceProfile, Poison> => {
  const refused = refusedByAddress(message, address)
  if (refused !== undefined) return Result.fail(refused)
  const { sender } = message.origin
  if (sender !== undefined && device !== undefined && device.deviceId !== sender.deviceId) {
    return Result.fail(
      mismatch(device.tenantId === sender.tenantId ? "InvalidTopic" : "TenantMismatch", message, address)
    )
  }
  return checkArrival({
    addressed:
      address._tag === "ByDeviceId" ? address.deviceId : address._tag === "ByExternalId" ? address.externalId : "",
    organizationId: address._tag === "Invalid" ? undefined : address.organizationId,
    device,
    payloadBytes: message.payload.byteLength
  })
}

/** PostgreSQL holds no NUL, and a header is no place for a novel. */
const headerText = (text: string) =>
  text.length > MAX_TOPIC_HEADER_UNITS || text.includes("\0")
    ? text.slice(0, MAX_TOPIC_HEADER_UNITS).replaceAll("\0", "\ufffd").toWellFormed()
    : text

/** What others call the message by; anything else is dropped. */
const traceparentOf = ({ traceparent }: Incoming) =>
  traceparent === undefined || parseTraceparent(traceparent) === undefined ? undefined : traceparent

/** @param traceparent of the bridge's own span where the message is sampled here */
export const acceptedRecord = (
  message: Incoming,
  stamp: Stamp,
  device: DeviceProfile,
  traceparent: string | undefined = traceparentOf(message)
): BusRecord => ({
  topic: Topics.raw,
  key: device.deviceId,
  value: message.payload,
  headers: envelopeHeaders({
    messageId: stamp.messageId,
    receivedAt: stamp.receivedAt,
    tenantId: device.tenantId,
    deviceId: device.deviceId,
    source: message.origin.source,
    contentType: message.contentType === undefined ? undefined : headerText(message.contentType),
    mqttTopic: message.topic,
    clientId: message.origin.clientId,
    traceparent
  })
})

/** A refused message belongs to the device that sent it, never to the one it named, unless none proved to be the sender. */
export const refusedRecord = (
  message: Incoming,
  stamp: Stamp,
  device: DeviceProfile | undefined,
  error: Poison
): BusRecord => {
  const owner = message.origin.sender ?? device
  const oversized = error.reason === "PayloadTooLarge" ? truncateOversized(message.payload) : undefined
  return deadLetterRecord({
    record: {
      topic: Topics.raw,
      key: owner?.deviceId ?? stamp.messageId,
      value: oversized?.value ?? message.payload,
      headers: {
        ...envelopeHeaders({
          messageId: stamp.messageId,
          receivedAt: stamp.receivedAt,
          tenantId: owner?.tenantId,
          deviceId: owner?.deviceId,
          source: message.origin.source,
          contentType: message.contentType === undefined ? undefined : headerText(message.contentType),
          mqttTopic: message.topic === undefined ? undefined : headerText(message.topic),
          clientId: message.origin.clientId
        }),
        ...oversized?.headers
      }
    },
    error,
    group: GROUP,
    stage: STAGE,
    failedAt: stamp.receivedAt
  })
}
