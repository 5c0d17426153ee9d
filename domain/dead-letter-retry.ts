/**
 * Retrying a dead letter: its untouched bytes on their way again, to the one group that failed, or through the bridge's
 * checks where it was the bridge.
 * @module
 */
import { Result } from "effect"
import { checkArrival, parseTelemetryTopic, type TelemetryTopic } from "./bridge.ts"
import { type CompiledDeviceType } from "./compiled-device-type.ts"
import { BRIDGE_GROUP } from "./dead-letter.ts"
import { type DeviceProfile } from "./device-type.ts"
import { effectiveVersion } from "./effective.ts"
import { Poison } from "./errors.ts"
import { type Instant } from "./ids.ts"
import { route } from "./route.ts"
import { Topics } from "./topics.ts"

type Headers = Readonly<Record<string, string>>

/** What is older, by received-at in microseconds, comes too late for alarms and events: a retry repairs history only. */
export const HORIZON_MICROS = 30_000_000

/** A dead letter as it is to be retried. */
export interface Retry {
  readonly id: string
  /** The group that failed, and alone takes it again. */
  readonly group: string
  /** How often it has failed. */
  readonly attempts: number
  /** The one entry to process; null: all of the record. */
  readonly entry: number | null
  /** Decides instead of received-at which configuration applies; null: received-at. */
  readonly configAt: Instant | null
}

const isOfEnvelope = (name: string) =>
  !name.startsWith("dlq-") && !["retry-of", "retry-group", "retry-entry", "config-at"].includes(name)

/** The envelope as it was when the message failed, and who is to take it. */
export const retryHeaders = (headers: Headers, { id, group, attempts, entry, configAt }: Retry): Headers => ({
  ...Object.fromEntries(Object.entries(headers).filter(([name]) => isOfEnvelope(name))),
  "retry-of": id,
  "dlq-attempts": String(attempts),
  ...(group !== BRIDGE_GROUP && { "retry-group": group }),
  ...(entry !== null && { "retry-entry": String(entry) }),
  ...(configAt !== null && { "config-at": String(configAt) })
})

/** A published version of a device type, as far as a stamp goes. */
export interface StampedVersion {
  readonly number: number
  readonly effectiveAt: Instant
  readonly compiled: Result.Result<CompiledDeviceType, Poison>
}

/** A whole message of a chunked gateway goes the way of a gateway's. */
const goesBy = (topic: string, mode: string): boolean =>
  Result.getOrUndefined(route(mode)) === topic || (topic === Topics.gateway && mode === "gateway_chunked")

/**
 * The headers with the device's type and version as the dispatcher would stamp them. They stay as they are where the
 * dispatcher has not been yet, where there is no version, and where the message would go another way by it.
 * @param versions of the device's type, oldest first
 */
export const restamped = (
  headers: Headers,
  topic: string,
  device: DeviceProfile | undefined,
  versions: ReadonlyArray<StampedVersion>
): Headers => {
  const at = Number(headers["config-at"] ?? headers["received-at"])
  if (headers["type-version"] === undefined || device === undefined || !Number.isSafeInteger(at)) return headers
  const version = effectiveVersion(versions, at)
  if (version === undefined || Result.isFailure(version.compiled)) return headers
  if (!goesBy(topic, version.compiled.success.config.processingMode)) return headers
  return { ...headers, "device-type-id": device.deviceTypeId, "type-version": String(version.number) }
}

/** What a message addressed that the bridge has refused: its topic, or the device itself where it came without one. */
export const addressOfRefused = (headers: Headers): TelemetryTopic => {
  const topic = headers["mqtt-topic"]
  const deviceId = headers["device-id"]
  if (topic !== undefined || deviceId === undefined) return parseTelemetryTopic(topic ?? "")
  return { _tag: "ByDeviceId", deviceId, organizationId: undefined }
}

/**
 * The bridge's checks again, of a message that it has refused. One whose sender was known enters only as that sender's.
 * @param payloadBytes of the payload kept; of one that was cut the headers tell
 * @param device what the address leads to by now
 */
export const checkAgain = (
  headers: Headers,
  payloadBytes: number,
  address: TelemetryTopic,
  device: DeviceProfile | undefined
): Result.Result<DeviceProfile, Poison> => {
  if (address._tag === "Invalid") return Result.fail(address.error)
  const sender = headers["device-id"]
  if (sender !== undefined && device !== undefined && device.deviceId !== sender) {
    return Result.fail(
      new Poison({
        reason: device.tenantId === headers["tenant-id"] ? "InvalidTopic" : "TenantMismatch",
        message: `Device ${sender} sent this to a topic of another device.`,
        path: "mqtt-topic"
      })
    )
  }
  return checkArrival({
    addressed: address._tag === "ByDeviceId" ? address.deviceId : address.externalId,
    organizationId: address.organizationId,
    device,
    payloadBytes: Number(headers["payload-bytes"] ?? payloadBytes)
  })
}
