/**
 * What a client asks for in CONNECT and what it is given.
 * @module
 */
import { parseTelemetryTopic } from "@argusiq/domain/bridge.ts"
import { type MqttClient, publishPermission } from "@argusiq/domain/mqtt-permission.ts"
import { type IConnackPacket, type IConnectPacket } from "mqtt-packet"
import { randomUUID } from "node:crypto"
import { type ConnectRefusal } from "./replies.ts"

const MAX_CLIENT_ID_UNITS = 256

export interface Credentials {
  readonly username: string | undefined
  readonly password: Buffer | undefined
}

export const protocolVersionOf = (packet: IConnectPacket) => (packet.protocolVersion === 5 ? 5 : 4)

/** What it logs in with, or why it need not be looked at. `certified`: it has shown a certificate, so it may do without. */
export const credentialsOf = (packet: IConnectPacket, certified: boolean): Credentials | ConnectRefusal => {
  const { clientId, password, properties, username } = packet
  if (clientId.length > MAX_CLIENT_ID_UNITS || /\p{Cc}|\ufffd/u.test(clientId)) return "clientId"
  if (clientId === "" && protocolVersionOf(packet) === 4 && packet.clean !== true) return "clientId"
  if (properties?.authenticationMethod !== undefined) return "authenticationMethod"
  if (!certified && (username === undefined || password === undefined)) return "credentials"
  return { username, password: password as Buffer | undefined }
}

export const mayLeaveWill = ({ will }: IConnectPacket, sender: MqttClient) =>
  will === undefined || publishPermission(sender, parseTelemetryTopic(will.topic))._tag !== "Refused"

/** What the session and the connection are to be. */
export const wishesOf = (packet: IConnectPacket, usualKeepAliveSeconds: number) => {
  const v5 = protocolVersionOf(packet) === 5
  const clean = packet.clean === true
  const keepAlive = packet.keepalive ?? 0
  return {
    clientId: packet.clientId === "" ? `auto-${randomUUID()}` : packet.clientId,
    clean,
    expirySeconds: v5 ? (packet.properties?.sessionExpiryInterval ?? 0) : clean ? 0 : Infinity,
    keepAliveSeconds: keepAlive === 0 && v5 ? usualKeepAliveSeconds : keepAlive
  }
}
export type Wishes = ReturnType<typeof wishesOf>

/** What MQTT 5 is told where it differs from what was asked. */
export const differences = (
  packet: IConnectPacket,
  { clientId, keepAliveSeconds }: Wishes,
  expirySeconds: number
): NonNullable<IConnackPacket["properties"]> => ({
  ...(expirySeconds !== (packet.properties?.sessionExpiryInterval ?? 0) && { sessionExpiryInterval: expirySeconds }),
  ...(packet.clientId === "" && { assignedClientIdentifier: clientId }),
  ...(packet.keepalive === 0 && { serverKeepAlive: keepAliveSeconds })
})
