/**
 * A message on its way in, whatever it came by.
 * @module
 */
import { type Envelope } from "@argusiq/domain/bridge.ts"
import { type MqttClient } from "@argusiq/domain/mqtt-permission.ts"

/** Who sent a message, shared by all messages of a connection. */
export interface Origin {
  readonly source: Envelope["source"]
  /** The device that has proved its identity; undefined where a broker vouches for what it forwards. */
  readonly sender: MqttClient | undefined
  readonly clientId: string | undefined
}

export interface Incoming {
  readonly origin: Origin
  /** As the device sent it. Undefined: the message is of the sender itself. */
  readonly topic: string | undefined
  /** Undefined: application/json. */
  readonly contentType: string | undefined
  readonly payload: Uint8Array
  /** W3C trace context, as it was sent. */
  readonly traceparent?: string | undefined
}
