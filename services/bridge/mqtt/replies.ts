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

/** Why the server ends a connection: the code of its DISCONNECT, which only MQTT 5 has, and words for people. */
const serverEnds = {
  malformed: { code: 0x81, words: "sent a malformed packet" },
  protocolError: { code: 0x82, words: "broke the protocol" },
  notAuthorized: { code: 0x87, words: "its key or certificate is not valid any more" },
  shuttingDown: { code: 0x8b, words: "the platform was shut down" },
  keepAlive: { code: 0x8d, words: "was silent for too long" },
  takenOver: { code: 0x8e, words: "connected again under the same client id" },
  receiveMaximum: { code: 0x93, words: "sent more than it was allowed to without acknowledgement" },
  packetTooLarge: { code: 0x95, words: "sent a packet that is too large" }
} as const
export type ServerEnd = keyof typeof serverEnds
/** Ends about which nothing is said to the client. */
const otherEnds = {
  disconnected: "said good-bye",
  closed: "closed the connection",
  error: "the connection broke",
  unread: "did not read what it was sent",
  fault: "the bridge failed on what it sent"
} as const
export type EndReason = ServerEnd | keyof typeof otherEnds

const isServerEnd = (reason: EndReason): reason is ServerEnd => reason in serverEnds
/** For people, of few values. */
export const endInWords = (reason: EndReason): string =>
  isServerEnd(reason) ? serverEnds[reason].words : otherEnds[reason]

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

export const disconnect = (reason: ServerEnd) => encode({ cmd: "disconnect", reasonCode: serverEnds[reason].code }, 5)
