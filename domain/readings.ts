/**
 * Readings: what was measured, as it travels between the services and is stored.
 * @module
 */
import { Schema } from "effect"
import { DeviceId, DeviceTypeId, Instant, MessageId, ReadingId, TenantId } from "./ids.ts"

export const Quality = Schema.Literals(["good", "uncertain", "bad"])
export type Quality = typeof Quality.Type
export const MetricValue = Schema.Union([
  Schema.Finite,
  Schema.String,
  Schema.Boolean,
  Schema.JsonObject,
  Schema.Array(Schema.Json)
])
export type MetricValue = typeof MetricValue.Type
// Keys were checked by the normalizer. Services trust each other's records (JSON.parse); these schemas serve tests, `tail` and doubt.
export const Metrics = Schema.Record(Schema.String, MetricValue)
const quality = Schema.optionalKey(Schema.Record(Schema.String, Quality)) // only the keys that are not good
/** Value of `telemetry.logical_devices.v1`: one gateway or RTU message, one entry per child occurrence or port, in order. */
export const LogicalDevices = Schema.Struct({
  correlationId: Schema.String, // of the transaction; the message id when the device gives none
  entries: Schema.Array(
    Schema.Struct({
      index: Schema.Int, // place in the device's message
      deviceId: DeviceId,
      deviceTypeId: DeviceTypeId, // of the child, effective at received-at
      typeVersion: Schema.Int,
      port: Schema.optionalKey(Schema.String),
      deviceTimestamp: Schema.optionalKey(Instant), // the child's own, else the gateway's
      doubtful: Schema.optionalKey(Schema.Boolean), // a timestamp was sent that cannot be read
      payload: Schema.Json
    })
  )
})
export type LogicalDevices = typeof LogicalDevices.Type
/** What one entity measured at one instant: a row of telemetry_frames. Above 256 metrics: several, with their own ids. */
export const Reading = Schema.Struct({
  readingId: ReadingId,
  deviceId: DeviceId,
  ts: Instant, // device time, else received-at
  clock: Schema.optionalKey(Schema.Literals(["ahead", "behind"])), // of received-at, by more than the device type allows
  deviceTypeId: DeviceTypeId,
  typeVersion: Schema.Int,
  metrics: Metrics,
  quality,
  sourceGatewayId: Schema.optionalKey(DeviceId),
  port: Schema.optionalKey(Schema.String),
  metadata: Schema.optionalKey(Schema.JsonObject)
})
export type Reading = typeof Reading.Type
/** Value of `telemetry.normalized.v1`, key = sending device: the unit of atomicity. */
export const NormalizedMessage = Schema.Struct({
  messageId: MessageId,
  tenantId: TenantId,
  deviceId: DeviceId,
  receivedAt: Instant,
  correlationId: Schema.optionalKey(Schema.String),
  readings: Schema.Array(Reading)
})
export type NormalizedMessage = typeof NormalizedMessage.Type
