/**
 * Connects and disconnects of devices as the embedded broker sees them, or as an external one tells. Who does not keep up misses the oldest.
 * @module
 */
import { Context, Effect, Layer, PubSub } from "effect"

export interface DeviceConnection {
  readonly kind: "connected" | "disconnected"
  readonly deviceId: string
  readonly tenantId: string
  readonly clientId: string
  /** Epoch microseconds. */
  readonly at: number
  /** Of a disconnect. */
  readonly reason?: string
}

export class DeviceConnections extends Context.Service<DeviceConnections, PubSub.PubSub<DeviceConnection>>()(
  "argusiq/bridge/DeviceConnections"
) {}

export const layer: Layer.Layer<DeviceConnections> = Layer.effect(
  DeviceConnections,
  Effect.map(PubSub.sliding<DeviceConnection>(10_000), DeviceConnections.of)
)
