/**
 * What the server answers, for MQTT 3.1.1 and 5 alike.
 * @module
 */
import mqtt, { type IConnackPacket, type Packet } from "mqtt-packet"

export const Puback = 0x40
export const Pubrec = 0x50
export const Pubcomp = 0x70

export const pingResponse = Buffer.from([0xd0, 0])

/** Why a CONNECT is refused, with its code in MQTT 3.1.1 and in MQTT 5. */
export const ConnectRefusal = {
  clientId: { v3: 2, v5: 0x85 },
  unavailable: { v3: 3, v5: 0x88 },
  credentials: { v3: 4, v5: 0x86 },
  notAuthorized: { v3: 5, v5: 0x87 },
  authenticationMethod: { v3: 5, v5: 0x8c },
  tooManyConnections: { v3: 3, v5: 0x97 }
} as const
export type ConnectRefusal = keyof typeof ConnectRefusal

/** Reason codes of the server's DISCONNECT, which only MQTT 5 has. */
export const DisconnectReason = {
  malformed: 0x81,
  protocolError: 0x82,
  shuttingDown: 0x8b,
  keepAlive: 0x8d,
  takenOver: 0x8e,
  receiveMaximum: 0x93,
  packetTooLarge: 0x95
} as const

const encode = (packet: Packet, protocolVersion: number) => mqtt.generate(packet, { protocolVersion })

export const refuseConnect = (protocolVersion: number, refusal: ConnectRefusal) =>
  protocolVersion === 5
    ? encode({ cmd: "connack", reasonCode: ConnectRefusal[refusal].v5, sessionPresent: false }, 5)
    : encode({ cmd: "connack", returnCode: ConnectRefusal[refusal].v3, sessionPresent: false }, 4)

export const acceptConnect = (
  protocolVersion: number,
  sessionPresent: boolean,
  properties: NonNullable<IConnackPacket["properties"]>
) =>
  protocolVersion === 5
    ? encode({ cmd: "connack", reasonCode: 0, sessionPresent, properties }, 5)
    : encode({ cmd: "connack", returnCode: 0, sessionPresent }, 4)

/** `granted`: the QoS, or 0x80 and above. MQTT 3.1.1 knows 0x80 only. */
export const subscribed = (protocolVersion: number, messageId: number, granted: ReadonlyArray<number>) =>
  encode(
    {
      cmd: "suback",
      messageId,
      granted: protocolVersion === 5 ? [...granted] : granted.map((code) => Math.min(code, 0x80))
    },
    protocolVersion
  )

export const unsubscribed = (protocolVersion: number, messageId: number, granted: ReadonlyArray<number>) =>
  encode({ cmd: "unsuback", messageId, granted: [...granted] }, protocolVersion)

export const disconnect = (reasonCode: number) => encode({ cmd: "disconnect", reasonCode }, 5)
