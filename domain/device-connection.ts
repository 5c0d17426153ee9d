/**
 * A device's connects and disconnects: the values of `device.connections.v1`, whose key is the device.
 * @module
 */
import { Schema } from "effect"
import { DeviceId, Instant, TenantId } from "./ids.ts"

export const DeviceConnection = Schema.Struct({
  deviceId: DeviceId,
  tenantId: TenantId,
  connected: Schema.Boolean, // false: the connection `connectionId` is gone
  at: Instant, // when the listener or the broker saw it
  clientId: Schema.String,
  /** Of one connection, so that the end of an old one is not taken for the end of another that came after it. */
  connectionId: Schema.String,
  /** The connections that the device has at this listener from then on; absent where a broker tells, which does not say. */
  connections: Schema.optionalKey(Schema.Int),
  reason: Schema.optionalKey(Schema.String) // of a disconnect, for people
})
export type DeviceConnection = typeof DeviceConnection.Type
