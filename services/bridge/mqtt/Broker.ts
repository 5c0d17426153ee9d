/**
 * What all MQTT connections share.
 * @module
 */
import { type MqttClient } from "@argusiq/domain/mqtt-permission.ts"
import { type ByteBudget } from "../ByteBudget.ts"
import { type Credential } from "../DeviceLogin.ts"
import { type Incoming } from "../Incoming.ts"
import { type Connection } from "./Connection.ts"
import { type PeerCertificate } from "./peerCertificate.ts"
import { type EndReason } from "./replies.ts"
import { type Sessions } from "./Sessions.ts"

/** What a client says of itself; a certificate is shown before, in its handshake. */
export interface LoginAttempt {
  readonly clientId: string
  readonly username: string | undefined
  readonly password: Buffer | undefined
  readonly certificate: PeerCertificate | undefined
}

/** Unavailable: whether the key or certificate is right cannot be known at this moment. */
export type Login =
  | { readonly _tag: "Accepted"; readonly sender: MqttClient; readonly credential: Credential }
  | { readonly _tag: "Refused"; readonly as: "credentials" | "clientId" | "notAuthorized" }
  | { readonly _tag: "Unavailable" }

/** A connection that has logged in. */
export interface Admitted {
  readonly sender: MqttClient
  readonly credential: Credential
  readonly clientId: string
  readonly connectionId: string
}

export interface Broker {
  readonly limits: {
    readonly connectTimeoutMillis: number
    /** For MQTT 5 clients that would have none. */
    readonly keepAliveSeconds: number
  }
  readonly budget: ByteBudget
  readonly sessions: Sessions
  readonly connections: Set<Connection>
  login(attempt: LoginAttempt, address: string, answer: (login: Login) => void): void
  /** `done` is called once, when the message is durable. */
  offer(message: Incoming, done: () => void): void
  connected(admitted: Admitted): void
  disconnected(admitted: Admitted, reason: EndReason): void
  /** Something was refused, for a reason of few values. */
  count(reason: string): void
  /** Something that must not happen did: for the log. */
  fault(defect: unknown): void
}
