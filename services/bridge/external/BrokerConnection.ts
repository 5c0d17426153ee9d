/**
 * One connection to an external broker: it resumes its session, subscribes, and acknowledges each message when the log has
 * flushed it, in the order in which they came. Many messages are on their way at once.
 * @module
 */
import { MAX_PAYLOAD_BYTES } from "@argusiq/domain/bridge.ts"
import { connect as connectPlain, isIP, type Socket } from "node:net"
import { connect as connectTls } from "node:tls"
import { type ByteBudget } from "../ByteBudget.ts"
import { type Incoming, type Origin } from "../Incoming.ts"
import { Acknowledgements } from "../mqtt/Acknowledgements.ts"
import { readControlPacket } from "../mqtt/control-packet.ts"
import { Hold, Intake, type IntakeOwner } from "../mqtt/Intake.ts"
import { readPublish } from "../mqtt/publish-packet.ts"
import { Puback } from "../mqtt/replies.ts"
import * as Request from "./requests.ts"
import { type BrokerSettings } from "./settings.ts"

/** The largest packet that MQTT knows. The broker has accepted it and would send it again and again if it were refused here:
 * it is read, and its beginning is dead-lettered. */
const MAX_PACKET_BYTES = 268_435_455
const KEPT_PAYLOAD_BYTES = MAX_PAYLOAD_BYTES + 1_048_576
const MAX_CONTROL_PACKET_BYTES = 65_536
const CONNECT_TIMEOUT_MILLIS = 10_000
const KEEP_ALIVE_SECONDS = 30

const SUBSCRIBE_ID = 1
const UNSUBSCRIBE_ID = 2

/** Why the connection does not read, besides the intake's own reasons. */
const Leaving = Hold.own

/** How a connection came to its end. Unanswered: the broker closed it instead of answering CONNECT. */
export interface Ended {
  readonly kind: "lost" | "refused" | "unanswered" | "unsupportedVersion"
  /** For people. */
  readonly reason: string
}

/** Where messages go and whom the connection tells. */
export interface Surroundings {
  readonly budget: ByteBudget
  /** `done` is called once, when the message is durable. */
  offer(message: Incoming, done: () => void): void
  /** The broker has granted the subscriptions. `resumed`: it had kept the session. */
  subscribed(resumed: boolean): void
  /** Called once. */
  ended(ended: Ended): void
  /** Something that must not happen did: for the log. */
  fault(defect: unknown): void
}

/** The broker vouches for who published. */
const origin: Origin = { source: "mqtt", sender: undefined, clientId: undefined }

const refusals: Readonly<Record<number, string>> = {
  0x02: "does not accept the client id: set MQTT_CLIENT_ID",
  0x03: "is not available",
  0x04: "does not accept user or password: check MQTT_URL",
  0x05: "does not let this user in: check user and password in MQTT_URL, and its access rules",
  0x85: "does not accept the client id: set MQTT_CLIENT_ID",
  0x86: "does not accept user or password: check MQTT_URL",
  0x87: "does not let this user in: check user and password in MQTT_URL, and its access rules",
  0x88: "is not available"
}
const disconnects: Readonly<Record<number, string>> = {
  0x8b: "is shutting down",
  0x8d: "has not heard from the bridge for too long",
  0x8e: "gave the session to another client with the same client id"
}
const hex = (code: number) => `0x${code.toString(16).padStart(2, "0")}`

export class BrokerConnection implements IntakeOwner {
  readonly #settings: BrokerSettings
  readonly #version: Request.Version
  readonly #around: Surroundings
  readonly #socket: Socket
  readonly #intake: Intake
  readonly #acknowledgements = new Acknowledgements((bytes) => this.#write(bytes))
  readonly #connectTimer: NodeJS.Timeout
  #pingTimer: NodeJS.Timeout | undefined
  #stage: "connecting" | "open" | "ended" = "connecting"
  #established = false
  #heard = true
  #unflushed = 0
  #resumed = false

  constructor(settings: BrokerSettings, version: Request.Version, around: Surroundings) {
    this.#settings = settings
    this.#version = version
    this.#around = around
    const { host, port, tls } = settings.address
    const ca = settings.authorities
    this.#socket = tls
      ? connectTls({ host, port, ...(isIP(host) === 0 && { servername: host }), ...(ca !== undefined && { ca }) })
      : connectPlain({ host, port })
    this.#socket.setNoDelay(true)
    this.#socket.once(tls ? "secureConnect" : "connect", () => {
      this.#established = true
      this.#write(Request.connect(version, settings, KEEP_ALIVE_SECONDS))
    })
    this.#socket.on("error", (error) => this.#end("lost", `cannot be reached (${error.message})`))
    this.#socket.on("end", () => this.#closed())
    this.#socket.on("close", () => this.#closed())
    this.#connectTimer = setTimeout(() => this.#end("lost", "does not answer"), CONNECT_TIMEOUT_MILLIS)
    this.#intake = new Intake(this.#socket, around.budget, this)
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

  /** What the broker sent meanwhile has not been looked at. */
  resumed() {
    this.#heard = true
  }

  fault(defect: unknown) {
    this.#around.fault(defect)
    this.#end("lost", "sent something on which the bridge failed")
  }

  limit(header: number) {
    return this.#stage === "open" && header >> 4 === 3 ? MAX_PACKET_BYTES : MAX_CONTROL_PACKET_BYTES
  }

  tooLarge() {
    this.#end("lost", "sent a packet that is none of MQTT")
  }

  packet(header: number, body: Buffer) {
    this.#heard = true
    if (header >> 4 === 3) this.#publish(header, body)
    else this.#control(header, body)
  }

  #publish(header: number, body: Buffer) {
    const packet = this.#stage === "open" ? readPublish(header, body, this.#version) : undefined
    if (packet === undefined || packet.qos === 2) return this.#end("lost", "sent a message that is malformed")
    const { payload } = packet
    const message = {
      origin,
      topic: packet.topic.toString("utf8"),
      contentType: packet.contentType,
      traceparent: packet.traceparent,
      // Whatever becomes of it, more than this would fit into no record.
      payload: payload.length > KEPT_PAYLOAD_BYTES ? Buffer.from(payload.subarray(0, KEPT_PAYLOAD_BYTES)) : payload
    }
    this.#unflushed++
    if (packet.qos === 0) return this.#around.offer(message, this.#flushed)
    const owed = this.#acknowledgements.owe(Puback, packet.packetId)
    this.#around.offer(message, () => {
      this.#flushed()
      this.#acknowledgements.pay(owed)
    })
  }

  #flushed = () => {
    this.#unflushed--
  }

  #control(header: number, body: Buffer) {
    if (this.#stage === "connecting") {
      // Read by hand: a broker that does not know MQTT 5 answers in the form of 3.1.1.
      if (header !== 0x20 || body.length < 2) return this.#end("refused", "does not speak MQTT")
      return this.#connack(header, body)
    }
    switch (header >> 4) {
      case 9:
        return this.#suback(header, body)
      case 11: // UNSUBACK: whether there was such a subscription does not matter
      case 13:
        return
      case 14: {
        const code = body[0] ?? 0
        return this.#end("lost", disconnects[code] ?? `ended the connection (${hex(code)})`)
      }
      default:
        return this.#end("lost", "sent a packet that no broker sends")
    }
  }

  // ── beginning ────────────────────────────────────────────────────────────────────────────────────────────────────

  #connack(header: number, body: Buffer) {
    const code = body[1]!
    if (code === 0x84 || code === 0x01) return this.#end("unsupportedVersion", "does not speak this version of MQTT")
    if (code !== 0) {
      return this.#end("refused", `${refusals[code] ?? "refuses the connection"} (${hex(code)})`)
    }
    clearTimeout(this.#connectTimer)
    this.#stage = "open"
    this.#resumed = (body[0]! & 1) === 1
    const answer = this.#version === 5 ? readControlPacket(header, body, 5) : undefined
    const properties = answer?.cmd === "connack" ? answer.properties : undefined
    if (this.#settings.shared && properties?.sharedSubscriptionAvailable === false) {
      return this.#end("refused", "has no shared subscriptions: unset MQTT_SHARED")
    }
    const keepAlive = Math.min(properties?.serverKeepAlive || KEEP_ALIVE_SECONDS, KEEP_ALIVE_SECONDS)
    this.#pingTimer = setInterval(() => this.#ping(), keepAlive * 500)
    const { filters, otherFilters } = this.#settings
    this.#write(Request.subscribe(this.#version, SUBSCRIBE_ID, filters))
    this.#write(Request.unsubscribe(this.#version, UNSUBSCRIBE_ID, otherFilters))
  }

  #suback(header: number, body: Buffer) {
    const packet = readControlPacket(header, body, this.#version)
    const granted = packet?.cmd === "suback" ? packet.granted.map(Number) : []
    const refused = this.#settings.filters.find((_, index) => (granted[index] ?? 0x80) >= 0x80)
    if (refused === undefined) return this.#around.subscribed(this.#resumed)
    this.#end("refused", `does not let this user subscribe to ${refused}: check its access rules`)
  }

  #ping() {
    if (!this.#heard && !this.#intake.heldBut(0)) return this.#end("lost", "has fallen silent")
    this.#heard = false
    this.#write(Request.pingRequest)
  }

  // ── ending ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Reads no more; true when nothing is left to acknowledge. */
  drained() {
    this.#intake.hold(Leaving)
    return this.#stage !== "open" || (this.#unflushed === 0 && this.#acknowledgements.settled)
  }

  /** The broker keeps the session, and sends again what is not acknowledged. */
  leave() {
    if (this.#stage === "open") this.#write(Request.disconnect(this.#version))
    this.#end("lost", "was left")
  }

  #closed() {
    if (this.#stage !== "connecting") return this.#end("lost", "closed the connection")
    if (this.#established) this.#end("unanswered", "closed the connection instead of answering")
    else this.#end("lost", "cannot be reached")
  }

  #write(bytes: Buffer) {
    if (this.#stage !== "ended" && this.#socket.writable) this.#socket.write(bytes)
  }

  #end(kind: Ended["kind"], reason: string) {
    if (this.#stage === "ended") return
    this.#stage = "ended"
    clearTimeout(this.#connectTimer)
    clearInterval(this.#pingTimer)
    this.#intake.close()
    this.#acknowledgements.forget()
    this.#around.ended({ kind, reason })
  }
}
