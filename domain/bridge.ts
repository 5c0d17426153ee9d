/**
 * The bridge's decisions on a message before it is accepted: which device a topic addresses, and whether it may enter.
 * @module
 */
import { Result } from "effect"
import { type DeviceProfile } from "./device-type.ts"
import { Poison } from "./errors.ts"
import { type DeviceId, type Instant, type MessageId } from "./ids.ts"
import { storableText } from "./storable.ts"
import { isUuid } from "./uuid.ts"

/** The largest payload that is accepted, in bytes. */
export const MAX_PAYLOAD_BYTES = 8 * 1_048_576
const MAX_EXTERNAL_ID_UNITS = 255

/** What an MQTT topic of a message addresses. */
export type TelemetryTopic =
  | { readonly _tag: "ByDeviceId"; readonly deviceId: string; readonly organizationId: string | undefined }
  | { readonly _tag: "ByExternalId"; readonly externalId: string; readonly organizationId: string }
  | { readonly _tag: "Invalid"; readonly error: Poison }

const invalid = (topic: string, why: string): TelemetryTopic => ({
  _tag: "Invalid",
  error: new Poison({
    reason: "InvalidTopic",
    message: `Topic "${storableText(topic.slice(0, 500))}" ${why}. Publish to v1/telemetry/{organizationId}/{deviceId or external id} or devices/{deviceId}/telemetry.`,
    path: "mqtt-topic"
  })
})

/**
 * Reads `v1/telemetry/{organizationId}/{deviceId or external id}` and `devices/{deviceId}/telemetry`. Ids come out lower-case.
 * What has the form of a UUID is a device id, never an external id.
 */
export const parseTelemetryTopic = (topic: string): TelemetryTopic => {
  const levels = topic.split("/")
  if (levels.length === 3 && levels[0] === "devices" && levels[2] === "telemetry") {
    const deviceId = levels[1]!
    if (!isUuid(deviceId)) return invalid(topic, "has no device id (a UUID) as its second level")
    return { _tag: "ByDeviceId", deviceId: deviceId.toLowerCase(), organizationId: undefined }
  }
  if (levels.length === 4 && levels[0] === "v1" && levels[1] === "telemetry") {
    const organizationId = levels[2]!
    const device = levels[3]!
    if (!isUuid(organizationId)) return invalid(topic, "has no organization id (a UUID) as its third level")
    if (isUuid(device)) {
      return { _tag: "ByDeviceId", deviceId: device.toLowerCase(), organizationId: organizationId.toLowerCase() }
    }
    if (device === "" || device.length > MAX_EXTERNAL_ID_UNITS || /[+#\0]/.test(device) || !device.isWellFormed()) {
      return invalid(topic, "has neither a device id nor an external id as its fourth level")
    }
    return { _tag: "ByExternalId", externalId: device, organizationId: organizationId.toLowerCase() }
  }
  return invalid(topic, "is not a telemetry topic")
}

/** What the checks look at. `device` is what was found for the addressed id, undefined when nothing was. */
export interface Arrival {
  readonly addressed: string // device id or external id, for the message of a refusal
  readonly organizationId: string | undefined // of the topic, where it names one
  readonly device: DeviceProfile | undefined
  readonly payloadBytes: number
}

/** The checks of the bridge in their order; a retry of one of its dead letters runs them again. */
export const checkArrival = (arrival: Arrival): Result.Result<DeviceProfile, Poison> => {
  const { device } = arrival
  if (device === undefined) {
    return Result.fail(
      new Poison({
        reason: "UnknownDevice",
        message: `No device "${arrival.addressed}" exists. Register it, then retry this message.`
      })
    )
  }
  if (arrival.organizationId !== undefined && arrival.organizationId !== device.tenantId) {
    return Result.fail(
      new Poison({
        reason: "TenantMismatch",
        message: `Device ${device.deviceId} does not belong to organization ${arrival.organizationId}. Publish to the topic of its own organization.`
      })
    )
  }
  if (device.status === "decommissioned") {
    return Result.fail(
      new Poison({
        reason: "DeviceDecommissioned",
        message: `Device ${device.deviceId} is decommissioned. Activate it again, or stop it from sending.`
      })
    )
  }
  if (arrival.payloadBytes > MAX_PAYLOAD_BYTES) {
    return Result.fail(
      new Poison({
        reason: "PayloadTooLarge",
        message: `The payload has ${arrival.payloadBytes} bytes, more than ${MAX_PAYLOAD_BYTES}. Split it, or send it in chunks.`,
        limit: MAX_PAYLOAD_BYTES
      })
    )
  }
  return Result.succeed(device)
}

/** What the bridge knows of a message besides its payload. Of a refused one, tenant and device may be unknown. */
export interface Envelope {
  readonly messageId: MessageId | string
  readonly tenantId: string | undefined
  readonly deviceId: DeviceId | string | undefined
  readonly receivedAt: Instant
  readonly source: "mqtt" | "http" | "webhook" | "simulator"
  readonly contentType?: string | undefined // application/json when absent
  readonly mqttTopic?: string | undefined
  readonly clientId?: string | undefined
  readonly traceparent?: string | undefined
}

/** The headers of a record, as `EnvelopeHeaders` describes them; a key whose value is unknown is absent. */
export const envelopeHeaders = (envelope: Envelope): Record<string, string> => {
  const headers: Record<string, string> = {
    "message-id": envelope.messageId,
    "received-at": String(envelope.receivedAt),
    source: envelope.source,
    "content-type": envelope.contentType ?? "application/json"
  }
  if (envelope.tenantId !== undefined) headers["tenant-id"] = envelope.tenantId
  if (envelope.deviceId !== undefined) headers["device-id"] = envelope.deviceId
  if (envelope.mqttTopic !== undefined) headers["mqtt-topic"] = envelope.mqttTopic
  if (envelope.clientId !== undefined) headers["client-id"] = envelope.clientId
  if (envelope.traceparent !== undefined) headers["traceparent"] = envelope.traceparent
  return headers
}
