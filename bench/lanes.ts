/**
 * The ways on which the load generator's messages travel. A lane serves some of the devices and tells of each message when
 * it has been acknowledged.
 * @module
 */
import { Agent, request } from "node:http"
import { DeviceConnection } from "../test/support/DeviceConnection.ts"

export interface Credentials {
  readonly id: string
  readonly key: string
}

export type Target =
  /** Each device over a connection of its own. */
  | { readonly _tag: "Connections"; readonly port: number }
  /** A broker at which these users may publish for every device. */
  | { readonly _tag: "SharedConnections"; readonly port: number; readonly users: ReadonlyArray<Credentials> }
  /** The webhook of brokers, in requests of several messages. */
  | { readonly _tag: "Webhook"; readonly url: string; readonly secret: string; readonly requests: number }

export interface Message {
  readonly sequence: number
  readonly payload: Uint8Array
  readonly deviceId: string
}

export interface Lane {
  readonly devices: ReadonlyArray<Credentials>
  readonly ready: () => boolean
  /** Sent or not, without an acknowledgement. */
  readonly outstanding: () => number
  readonly publish: (message: Message) => void
  readonly close: () => void
}

export type OnAcknowledged = (lane: Lane, sequence: number) => void

const topicOf = (deviceId: string) => `devices/${deviceId}/telemetry`

const connectionLane = (
  port: number,
  user: Credentials,
  devices: ReadonlyArray<Credentials>,
  window: number,
  onAcknowledged: OnAcknowledged
): Lane => {
  const isShared = devices.length !== 1 || devices[0]?.id !== user.id
  const connection = new DeviceConnection({
    port,
    deviceId: user.id,
    key: user.key,
    window,
    onAcknowledged: ({ sequence }) => onAcknowledged(lane, sequence)
  })
  const lane: Lane = {
    devices,
    ready: () => connection.isConnected,
    outstanding: () => connection.outstanding,
    publish: ({ deviceId, ...message }) =>
      connection.publish(isShared ? { ...message, topic: topicOf(deviceId) } : message),
    close: () => connection.close()
  }
  return lane
}

const MAX_MESSAGES_PER_REQUEST = 500
const RETRY_MILLIS = 100

/** One request at a time; what is refused for a while is sent again. */
const webhookLane = (
  { secret, url }: { readonly url: string; readonly secret: string },
  devices: ReadonlyArray<Credentials>,
  onAcknowledged: OnAcknowledged
): Lane => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const headers = { "content-type": "application/json", "x-webhook-secret": secret }
  let waiting: Array<Message> = []
  let inFlight: Array<Message> = []
  let planned = false
  const plan = () => {
    if (planned || inFlight.length > 0 || waiting.length === 0) return
    planned = true
    setImmediate(() => {
      planned = false
      inFlight = waiting.slice(0, MAX_MESSAGES_PER_REQUEST)
      waiting = waiting.slice(MAX_MESSAGES_PER_REQUEST)
      send()
    })
  }
  const again = () => void setTimeout(send, RETRY_MILLIS)
  const send = () => {
    const body = JSON.stringify(
      inFlight.map(({ deviceId, payload }) => ({
        topic: topicOf(deviceId),
        payload: Buffer.from(payload).toString("base64")
      }))
    )
    const sent = request(`${url}/ingest`, { method: "POST", agent, headers }, (response) => {
      response.resume()
      response.on("error", again)
      response.on("end", () => {
        if (response.statusCode === 503) return again()
        if (response.statusCode !== 202) throw new Error(`POST /ingest: ${response.statusCode}`)
        const done = inFlight
        inFlight = []
        for (const { sequence } of done) onAcknowledged(lane, sequence)
        plan()
      })
    })
    sent.on("error", again)
    sent.end(body)
  }
  const lane: Lane = {
    devices,
    ready: () => true,
    outstanding: () => waiting.length + inFlight.length,
    publish: (message) => {
      waiting.push(message)
      plan()
    },
    close: () => agent.destroy()
  }
  return lane
}

/** Each of the devices is on one lane only, so that its messages keep their order. */
export const openLanes = (
  target: Target,
  devices: ReadonlyArray<Credentials>,
  window: number,
  onAcknowledged: OnAcknowledged
): ReadonlyArray<Lane> => {
  const shared = (count: number) =>
    Array.from({ length: Math.min(count, devices.length) }, (_, lane) =>
      devices.filter((__, index) => index % count === lane)
    )
  switch (target._tag) {
    case "Connections":
      return devices.map((device) => connectionLane(target.port, device, [device], window, onAcknowledged))
    case "SharedConnections":
      return shared(target.users.length).map((some, index) =>
        connectionLane(target.port, target.users[index] as Credentials, some, window, onAcknowledged)
      )
    case "Webhook":
      return shared(target.requests).map((some) => webhookLane(target, some, onAcknowledged))
  }
}
