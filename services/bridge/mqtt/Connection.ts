/**
 * One device's MQTT connection, 3.1.1 or 5: it logs in, publishes its telemetry and subscribes to its commands.
 * @module
 */
import { MAX_PAYLOAD_BYTES } from "@argusiq/domain/bridge.ts"
import { subscribePermission } from "@argusiq/domain/mqtt-permission.ts"
import { type IConnectPacket, type ISubscribePacket, type IUnsubscribePacket } from "mqtt-packet"
import { randomUUID } from "node:crypto"
import { type Socket } from "node:net"
import { type Origin } from "../Incoming.ts"
import { type Admitted, type Broker, type Login } from "./Broker.ts"
import { credentialsOf, differences, mayLeaveWill, protocolVersionOf, wishesOf } from "./connect-packet.ts"
import { readControlPacket } from "./control-packet.ts"
import { Hold, Intake, type IntakeOwner } from "./Intake.ts"
import { type PeerCertificate } from "./peerCertificate.ts"
import { readPublish } from "./publish-packet.ts"
import { MAX_AWAITING_RELEASE, Publishing, type PublishingOwner } from "./Publishing.ts"
import * as Reply from "./replies.ts"
import { type Session } from "./Sessions.ts"
import { Silence } from "./Silence.ts"

/** Of a packet as a whole: a payload between 8 MiB and this is dead-lettered, beyond it nothing is read. */
const MAX_PACKET_BYTES = 9 * 1_048_576
const MAX_CONTROL_PACKET_BYTES = 65_536
const MAX_UNREAD_BYTES = 1_048_576

const CONNECT = 0x10

/** Why a connection does not read, besides the intake's own reasons. */
const LoggingIn = Hold.own
const Backlog = Hold.own * 2
const Draining = Hold.own * 4

/** What there is once the client has logged in. */
interface Open {
  readonly admitted: Admitted
  readonly origin: Origin
  readonly session: Session
  readonly publishing: Publishing
}

export class Connection implements IntakeOwner, PublishingOwner {
  readonly #broker: Broker
  readonly #socket: Socket
  readonly #intake: Intake
  readonly #silence: Silence
  readonly #certificate: PeerCertificate | undefined
  #stage: "connecting" | "loggingIn" | "open" | "closed" = "connecting"
  #version = 4
  #open: Open | undefined
  #will: IConnectPacket["will"]

  /** `certificate`: that of the handshake, where it came through TLS. */
  constructor(broker: Broker, socket: Socket, certificate?: PeerCertificate) {
    this.#broker = broker
    this.#certificate = certificate
    this.#socket = socket
    this.#silence = new Silence(Date.now() + broker.limits.connectTimeoutMillis)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 60_000)
    socket.on("error", () => this.#close("error"))
    socket.on("end", () => this.#close("closed"))
    socket.on("close", () => this.#close("closed"))
    broker.connections.add(this)
    this.#intake = new Intake(socket, broker.budget, this)
  }

  /** Who it is, while it is logged in. */
  get admitted(): Admitted | undefined {
    return this.#stage === "open" ? this.#open?.admitted : undefined
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

  limit(header: number) {
    if (this.#stage === "connecting" && header !== CONNECT) return -1
    if (this.#stage === "open" && header >> 4 === 3) return MAX_PACKET_BYTES
    return MAX_CONTROL_PACKET_BYTES
  }

  tooLarge() {
    this.#broker.count(this.#stage === "connecting" ? "no-connect" : "packet-too-large")
    this.#end("packetTooLarge")
  }

  resumed() {
    if (this.#stage === "open") this.#silence.extend()
  }

  fault(defect: unknown) {
    this.#broker.fault(defect)
    this.#close("fault")
  }

  packet(header: number, body: Buffer) {
    this.#silence.heard()
    switch (header >> 4) {
      case 3:
        return this.#publish(header, body)
      case 6:
        if (header !== 0x62 || body.length < 2) return this.#end("malformed")
        return this.#open!.publishing.release(body.readUInt16BE(0))
      case 12:
        return header === 0xc0 ? this.write(Reply.pingResponse) : this.#end("malformed")
      default:
        return this.#control(header, body)
    }
  }

  #control(header: number, body: Buffer) {
    const packet = readControlPacket(header, body, this.#version)
    if (packet === undefined) return this.#end("malformed")
    if (this.#stage === "connecting") {
      if (packet.cmd === "connect") this.#connect(packet)
      else this.#close("closed")
      return
    }
    switch (packet.cmd) {
      case "subscribe":
        return this.#subscribe(packet)
      case "unsubscribe":
        return this.#unsubscribe(packet)
      case "puback":
      case "pubrec":
      case "pubcomp":
        return // nothing is published to devices that they could acknowledge
      case "disconnect":
        if (packet.reasonCode !== 0x04) this.#will = undefined
        return this.#close("disconnected")
      default:
        return this.#end("protocolError")
    }
  }

  // ── logging in ───────────────────────────────────────────────────────────────────────────────────────────────────

  #connect(packet: IConnectPacket) {
    this.#version = protocolVersionOf(packet)
    const certificate = this.#certificate
    const credentials = credentialsOf(packet, certificate !== undefined)
    if (typeof credentials === "string") return this.#refuse(credentials)
    this.#stage = "loggingIn"
    this.#intake.hold(LoggingIn)
    const attempt = { ...credentials, clientId: packet.clientId, certificate }
    this.#broker.login(attempt, this.#socket.remoteAddress ?? "an unknown address", (login) => {
      if (this.#stage !== "loggingIn") return
      if (login._tag !== "Accepted") return this.#refuse(login._tag === "Unavailable" ? "unavailable" : login.as)
      this.#admit(packet, login)
    })
  }

  #admit(packet: IConnectPacket, { credential, sender }: Extract<Login, { _tag: "Accepted" }>) {
    if (!mayLeaveWill(packet, sender)) return this.#refuse("notAuthorized")
    const wishes = wishesOf(packet, this.#broker.limits.keepAliveSeconds)
    const { clean, clientId, expirySeconds, keepAliveSeconds } = wishes
    const takenOver = () => this.#end("takenOver")
    const opened = this.#broker.sessions.open({ deviceId: sender.deviceId, clientId, clean, expirySeconds, takenOver })
    if (opened === undefined) return this.#refuse("tooManyConnections")
    const { present, session } = opened
    const admitted: Admitted = { sender, credential, clientId, connectionId: randomUUID() }
    const origin: Origin = { source: "mqtt", sender, clientId }
    this.#open = { admitted, origin, session, publishing: new Publishing(this, origin, session) }
    this.#will = packet.will
    this.#stage = "open"
    this.write(
      Reply.acceptConnect(this.#version, present, {
        receiveMaximum: MAX_AWAITING_RELEASE,
        maximumPacketSize: MAX_PACKET_BYTES,
        wildcardSubscriptionAvailable: true,
        sharedSubscriptionAvailable: false,
        subscriptionIdentifiersAvailable: false,
        ...differences(packet, wishes, session.expirySeconds)
      })
    )
    this.#broker.connected(admitted)
    this.#silence.keepAlive(keepAliveSeconds)
    this.#intake.release(LoggingIn)
  }

  #refuse(refusal: Reply.ConnectRefusal) {
    this.#broker.count(`connect-${refusal}`)
    this.write(Reply.refuseConnect(this.#version, refusal))
    this.#close("closed")
  }

  // ── publishing ───────────────────────────────────────────────────────────────────────────────────────────────────

  #publish(header: number, body: Buffer) {
    const packet = readPublish(header, body, this.#version)
    if (packet === undefined) return this.#end("malformed")
    if (this.#open!.publishing.publish(packet)) return
    this.#broker.count("receive-maximum")
    this.#end("receiveMaximum")
  }

  offer(...offered: Parameters<Broker["offer"]>) {
    this.#broker.offer(...offered)
  }
  congested() {
    this.#intake.hold(Backlog)
  }
  flowing() {
    this.#intake.release(Backlog)
  }

  // ── subscribing ──────────────────────────────────────────────────────────────────────────────────────────────────

  #subscribe(packet: ISubscribePacket) {
    if (packet.subscriptions.length === 0 || (packet.messageId ?? 0) <= 0) return this.#end("malformed")
    const { admitted, session } = this.#open!
    const granted = packet.subscriptions.map(({ topic, qos }) => {
      if (subscribePermission(admitted.sender, topic)._tag === "Refused") {
        this.#broker.count("subscribe")
        return topic.startsWith("$share/") ? 0x9e : 0x87
      }
      session.filters.add(topic)
      return qos
    })
    this.write(Reply.subscribed(this.#version, packet.messageId!, granted))
  }

  #unsubscribe(packet: IUnsubscribePacket) {
    if (packet.unsubscriptions.length === 0 || (packet.messageId ?? 0) <= 0) return this.#end("malformed")
    const { filters } = this.#open!.session
    const granted = packet.unsubscriptions.map((filter) => (filters.delete(filter) ? 0 : 0x11))
    this.write(Reply.unsubscribed(this.#version, packet.messageId!, granted))
  }

  // ── ending ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Cuts what has been silent, or amid one packet, for too long. Called about once a second. */
  sweep(now: number) {
    if (this.#stage === "loggingIn" || this.#intake.heldBut(Draining)) return
    const judged = this.#silence.judge(now, this.#intake.amid)
    if (judged === "bearable") return
    if (judged === "slow") this.#broker.count("packet-timeout")
    else this.#broker.count(this.#stage === "connecting" ? "connect-timeout" : "keep-alive")
    this.#end("keepAlive")
  }

  /** Reads no more; true when nothing is left to acknowledge. */
  drained() {
    this.#intake.hold(Draining)
    return this.#open === undefined || this.#open.publishing.settled
  }

  shutDown() {
    this.#will = undefined
    this.#end("shuttingDown")
  }

  /** What it has logged in with does not hold any more, so it may not leave a last will either. */
  revoke() {
    this.#will = undefined
    this.#broker.count("revoked")
    this.#end("notAuthorized")
  }

  write(bytes: Buffer) {
    if (!this.#socket.writable) return
    this.#socket.write(bytes)
    if (this.#socket.writableLength > MAX_UNREAD_BYTES) {
      this.#broker.count("slow-reader")
      this.#close("unread")
    }
  }

  /** MQTT 5 is told why, 3.1.1 finds the connection closed. */
  #end(reason: Reply.ServerEnd) {
    if (this.#stage === "open" && this.#version === 5) this.write(Reply.disconnect(reason))
    this.#close(reason)
  }

  #close(reason: Reply.EndReason) {
    if (this.#stage === "closed") return
    this.#stage = "closed"
    this.#intake.close()
    this.#broker.connections.delete(this)
    if (this.#open === undefined) return
    const { admitted, origin, publishing, session } = this.#open
    publishing.forget()
    this.#broker.sessions.leave(admitted.sender.deviceId, session, Date.now())
    this.#broker.disconnected(admitted, reason)
    if (this.#will !== undefined && Buffer.byteLength(this.#will.payload) <= MAX_PAYLOAD_BYTES) {
      const payload = Buffer.from(this.#will.payload as Buffer)
      this.#broker.offer({ origin, topic: this.#will.topic, contentType: undefined, payload }, () => {})
    }
  }
}
