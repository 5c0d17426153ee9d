/**
 * What the bridge says to an external broker, in MQTT 3.1.1 and 5 alike.
 * @module
 */
import mqtt, { type Packet } from "mqtt-packet"
import { type BrokerSettings } from "./settings.ts"

export type Version = 4 | 5

/** How long the broker keeps the session, and with it what is published while no bridge is there. */
const SESSION_SECONDS = 7 * 86_400
/** Messages that the broker sends ahead of their acknowledgements. MQTT 3.1.1 leaves it to the broker's configuration. */
const RECEIVE_MAXIMUM = 10_000

export const pingRequest = Buffer.from([0xc0, 0])

const encode = (packet: Packet, protocolVersion: Version) => mqtt.generate(packet, { protocolVersion })

export const connect = (version: Version, { address, clientId }: BrokerSettings, keepAliveSeconds: number) =>
  encode(
    {
      cmd: "connect",
      protocolId: "MQTT",
      protocolVersion: version,
      clean: false,
      clientId,
      keepalive: keepAliveSeconds,
      ...(address.username !== undefined && { username: address.username }),
      ...(address.password !== undefined && { password: Buffer.from(address.password) }),
      ...(version === 5 && {
        properties: { sessionExpiryInterval: SESSION_SECONDS, receiveMaximum: RECEIVE_MAXIMUM }
      })
    },
    version
  )

/** With MQTT 5 retained messages come with a subscription only when the session did not have it yet. */
export const subscribe = (version: Version, messageId: number, filters: ReadonlyArray<string>) =>
  encode(
    {
      cmd: "subscribe",
      messageId,
      subscriptions: filters.map((topic) => ({
        topic,
        qos: 1,
        ...(version === 5 && { nl: false, rap: false, rh: 1 })
      }))
    },
    version
  )

export const unsubscribe = (version: Version, messageId: number, filters: ReadonlyArray<string>) =>
  encode({ cmd: "unsubscribe", messageId, unsubscriptions: [...filters] }, version)

/** The session stays. */
export const disconnect = (version: Version) => encode({ cmd: "disconnect", reasonCode: 0 }, version)
