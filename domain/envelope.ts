/**
 * Headers that travel with every record: what a service needs to know without opening the payload.
 * @module
 */
import { Schema } from "effect"
import { DeviceId, DeviceTypeId, InstantFromString, MessageId, orElse, TenantId, Uuid } from "./ids.ts"

export const ProcessingMode = Schema.Literals(["endpoint", "gateway", "gateway_chunked", "rtu_multiport"])
export type ProcessingMode = typeof ProcessingMode.Type
/** Headers of every record (the bridge's dead letters may lack tenant-id and device-id). `telemetry.raw.v1` and the mode topics carry the untouched payload bytes. */
export const EnvelopeHeaders = Schema.Struct({
  "message-id": MessageId,
  "tenant-id": TenantId,
  "device-id": DeviceId, // the sending device; also the record's key until readings are mapped to assets
  "received-at": InstantFromString, // stamped once by the bridge; decides which configuration applies
  source: Schema.Literals(["mqtt", "http", "webhook", "simulator"]),
  "content-type": Schema.String.pipe(Schema.withDecodingDefaultKey(orElse("application/json"))),
  "mqtt-topic": Schema.optionalKey(Schema.String),
  "client-id": Schema.optionalKey(Schema.String),
  traceparent: Schema.optionalKey(Schema.String),
  "device-type-id": Schema.optionalKey(DeviceTypeId), // these two from the dispatcher on
  "type-version": Schema.optionalKey(Schema.FiniteFromString),
  "replay-job": Schema.optionalKey(Uuid),
  "side-effects": Schema.optionalKey(Schema.Literals(["on", "off"])), // off in a replay: no alarms, no activities
  "retry-of": Schema.optionalKey(Uuid), // dead letter being retried
  "retry-entry": Schema.optionalKey(Schema.FiniteFromString),
  "config-at": Schema.optionalKey(InstantFromString), // a retry: instead of received-at, for the choice of configuration
  "readings-of": Schema.optionalKey(Schema.Literal("sender")), // of a normalized message that holds no other device's readings
  "retry-group": Schema.optionalKey(Schema.String) // the one group that takes it; dropped from what that group publishes
})
export type EnvelopeHeaders = typeof EnvelopeHeaders.Type

type Headers = Readonly<Record<string, string>>

/**
 * The device whose readings alone a normalized message holds, told without opening it; undefined where there may be those of
 * others too.
 */
export const onlyDeviceOf = (headers: Headers): string | undefined =>
  headers["readings-of"] === "sender" ? headers["device-id"] : undefined

/** Those of some records. */
export const onlyDevicesOf = (records: Iterable<{ readonly headers: Headers }>): ReadonlySet<string> => {
  const devices = new Set<string>()
  for (const { headers } of records) {
    const device = onlyDeviceOf(headers)
    if (device !== undefined) devices.add(device)
  }
  return devices
}

/**
 * The headers of a normalized message: its envelope, without the group that alone was to take it, and whether its readings are
 * all of its sender.
 */
export const normalizedHeaders = (
  headers: Headers,
  message: { readonly deviceId: string; readonly readings: ReadonlyArray<{ readonly deviceId: string }> }
): Headers => {
  const { "retry-group": _, ...envelope } = headers
  const isOfSender = message.readings.every(({ deviceId }) => deviceId === message.deviceId)
  return isOfSender ? { ...envelope, "readings-of": "sender" } : envelope
}
