/**
 * One device's MQTT connection, 3.1.1 or 5: it logs in, publishes its telemetry and subscribes to its commands. A publish
 * is acknowledged when the log has flushed it, in the order in which the publishes came.
 * @module
 */
import { MAX_PAYLOAD_BYTES, parseTelemetryTopic } from "@argusiq/domain/bridge.ts"
import { publishPermission, subscribePermission } from "@argusiq/domain/mqtt-permission.ts"
import { type IConnectPacket, type ISubscribePacket, type IUnsubscribePacket } from "mqtt-packet"
import { randomUUID } from "node:crypto"
import { type Socket } from "node:net"
import { type Reader } from "../ByteBudget.ts"
import { type Origin } from "../Incoming.ts"
import { Acknowledgements } from "./Acknowledgements.ts"
import { type Broker } from "./Broker.ts"
import { readControlPacket } from "./control-packet.ts"
import { PacketFramer, type PacketSink } from "./PacketFramer.ts"
import { readPublish } from "./publish-packet.ts"
import * as Reply from "./replies.ts"
import { type Session } from "./Sessions.ts"

/** Of a packet as a whole: a payload between 8 MiB and this is dead-lettered, beyond it nothing is read. */
const MAX_PACKET_BYTES = 9 * 1_048_576
const MAX_CONTROL_PACKET_BYTES = 65_536
const MAX_CLIENT_ID_UNITS = 256
const MAX_UNREAD_BYTES = 1_048_576
/** Messages of one connection that the log has not flushed; past it only this connection waits. */
const MAX_UNFLUSHED = 1_000
const MAX_AWAITING_RELEASE = 1_000
const PACKET_TIMEOUT_MILLIS = 60_000
const LINGER_MILLIS = 1_000

const CONNECT = 0x10

/** Why a connection does not read, as bits. */
const LoggingIn = 1
const BudgetSpent = 2
const AwaitingRoom = 4
const Backlog = 8
const Draining = 16

type Stage = "connecting" | "loggingIn" | "open" | "closed"

export class Connection implements Reader, PacketSink {
  readonly #broker: Broker
  readonly #socket: Socket
  readonly #framer = new PacketFramer(this)
  #stage: Stage = "connecting"
  #holds = 0
  #version = 4
  #origin: Origin | undefined
  #session: Session | undefined
  #will: IConnectPacket["will"]
  /** Epoch milliseconds by which the client must have sent something. */
  #deadline: number
  #keepAliveMillis = 0
  #packets = 0
  #amid = { packets: -1, since: 0 }
  #reserved = 0
  #unflushed = 0
  readonly #acknowledgements = new Acknowledgements((bytes) => this.#write(bytes))
  #topicBytes: Buffer = Buffer.alloc(0)
  #topic = ""

  constructor(broker: Broker, socket: Socket) {
    this.#broker = broker
    this.#socket = socket
    this.#deadline = Date.now() + broker.limits.connectTimeoutMillis
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 60_000)
    socket.on("data", (chunk: Buffer) => this.#guard(() => this.#framer.feed(chunk)))
    socket.on("error", () => this.#close("error"))
    socket.on("end", () => this.#close("ended"))
    socket.on("close", () => this.#close("closed"))
    broker.connections.add(this)
    broker.budget.add(this)
  }

  // ── reading ──────────────────────────────────────────────────────────────────────────────────────────────────────

  pause() {
    this.#hold(BudgetSpent)
  }
  resume() {
    this.#release(BudgetSpent)
  }

  #hold(why: number) {
    if (this.#holds === 0) {
      this.#socket.pause()
      this.#framer.hold()
    }
    this.#holds |= why
  }

  #release(why: number) {
    if ((this.#holds & why) === 0) return
    this.#holds &= ~why
    if (this.#holds !== 0 || this.#stage === "closed") return
    if (this.#stage === "open") this.#deadline = this.#nextDeadline()
    this.#guard(() => this.#framer.resume())
    if (this.#holds === 0) this.#socket.resume()
  }

  /** A fault of ours in one connection ends that connection and nothing else. */
  #guard(read: () => void) {
    try {
      read()
    } catch (fault) {
      this.#broker.fault(fault)
      this.#close("fault")
    }
  }

  #nextDeadline() {
    return this.#keepAliveMillis === 0 ? Infinity : Date.now() + this.#keepAliveMillis
  }

  limit(header: number) {
    if (this.#stage === "connecting" && header !== CONNECT) return -1
    if (this.#stage === "open" && header >> 4 === 3) return MAX_PACKET_BYTES
    return MAX_CONTROL_PACKET_BYTES
  }

  tooLarge() {
    this.#broker.count(this.#stage === "connecting" ? "no-connect" : "packet-too-large")
    this.#end(Reply.DisconnectReason.packetTooLarge)
  }

  #granted = () => this.#release(AwaitingRoom)
  reserve(length: number) {
    this.#reserved = length
    if (!this.#broker.budget.reserve(length, this.#granted)) this.#hold(AwaitingRoom)
  }
  #unreserve() {
    if (this.#reserved === 0) return
    const reserved = this.#reserved
    this.#reserved = 0
    this.#broker.budget.unreserve(reserved, this.#granted)
  }

  packet(header: number, body: Buffer) {
    this.#packets++
    if (this.#keepAliveMillis > 0) this.#deadline = Date.now() + this.#keepAliveMillis
    switch (header >> 4) {
      case 3:
        this.#publish(header, body)
        break
      case 6:
        if (header === 0x62 && body.length >= 2) this.#pubrel(body.readUInt16BE(0))
        else this.#end(Reply.DisconnectReason.malformed)
        break
      case 12:
        if (header === 0xc0) this.#write(Reply.pingResponse)
        else this.#end(Reply.DisconnectReason.malformed)
        break
      default:
        this.#control(header, body)
    }
    this.#unreserve()
  }

  #control(header: number, body: Buffer) {
    const packet = readControlPacket(header, body, this.#version)
    if (packet === undefined) return this.#end(Reply.DisconnectReason.malformed)
    if (this.#stage === "connecting") {
      if (packet.cmd === "connect") this.#connect(packet)
      else this.#close("no connect")
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
        return this.#end(Reply.DisconnectReason.protocolError)
    }
  }

  // ── logging in ───────────────────────────────────────────────────────────────────────────────────────────────────

  #connect(packet: IConnectPacket) {
    this.#version = packet.protocolVersion === 5 ? 5 : 4
    const clientId = packet.clientId
    if (clientId.length > MAX_CLIENT_ID_UNITS || /\p{Cc}|\ufffd/u.test(clientId)) return this.#refuse("clientId")
    if (clientId === "" && this.#version === 4 && packet.clean !== true) return this.#refuse("clientId")
    if (packet.properties?.authenticationMethod !== undefined) return this.#refuse("authenticationMethod")
    if (packet.username === undefined || packet.password === undefined) return this.#refuse("credentials")
    this.#stage = "loggingIn"
    this.#hold(LoggingIn)
    this.#broker.login(packet.username, packet.password, (login) => {
      if (this.#stage !== "loggingIn") return
      if (login._tag !== "Accepted") return this.#refuse(login._tag === "Unavailable" ? "unavailable" : "credentials")
      this.#admit(packet, clientId === "" ? `auto-${randomUUID()}` : clientId, login.sender)
    })
  }

  #admit(packet: IConnectPacket, clientId: string, sender: NonNullable<Origin["sender"]>) {
    if (packet.will !== undefined) {
      const permission = publishPermission(sender, parseTelemetryTopic(packet.will.topic))
      if (permission._tag === "Refused") return this.#refuse("notAuthorized")
    }
    const v5 = this.#version === 5
    const asked = packet.properties?.sessionExpiryInterval ?? 0
    const opened = this.#broker.sessions.open({
      deviceId: sender.deviceId,
      clientId,
      clean: packet.clean === true,
      expirySeconds: v5 ? asked : packet.clean === true ? 0 : Infinity,
      takenOver: () => this.#end(Reply.DisconnectReason.takenOver)
    })
    if (opened === undefined) return this.#refuse("tooManyConnections")
    this.#session = opened.session
    this.#origin = { source: "mqtt", sender, clientId }
    this.#will = packet.will
    const keepAliveSeconds =
      packet.keepalive === 0 && v5 ? this.#broker.limits.keepAliveSeconds : (packet.keepalive ?? 0)
    this.#keepAliveMillis = keepAliveSeconds * 1500
    this.#stage = "open"
    this.#write(
      Reply.acceptConnect(this.#version, opened.present, {
        receiveMaximum: MAX_AWAITING_RELEASE,
        maximumPacketSize: MAX_PACKET_BYTES,
        wildcardSubscriptionAvailable: true,
        sharedSubscriptionAvailable: false,
        subscriptionIdentifiersAvailable: false,
        ...(opened.session.expirySeconds !== asked && { sessionExpiryInterval: opened.session.expirySeconds }),
        ...(packet.clientId === "" && { assignedClientIdentifier: clientId }),
        ...(packet.keepalive === 0 && { serverKeepAlive: keepAliveSeconds })
      })
    )
    this.#broker.connected(sender, clientId)
    this.#release(LoggingIn)
    this.#deadline = this.#nextDeadline()
  }

  #refuse(refusal: Reply.ConnectRefusal) {
    this.#broker.count(`connect-${refusal}`)
    this.#write(Reply.refuseConnect(this.#version, refusal))
    this.#close("refused")
  }

  // ── publishing ───────────────────────────────────────────────────────────────────────────────────────────────────

  #publish(header: number, body: Buffer) {
    const packet = readPublish(header, body, this.#version)
    if (packet === undefined) return this.#end(Reply.DisconnectReason.malformed)
    if (!this.#topicBytes.equals(packet.topic)) {
      this.#topicBytes = Buffer.from(packet.topic)
      this.#topic = packet.topic.toString("utf8")
    }
    const message = {
      origin: this.#origin!,
      topic: this.#topic,
      contentType: packet.contentType,
      payload: packet.payload
    }
    this.#unflushed++
    if (this.#unflushed >= MAX_UNFLUSHED) this.#hold(Backlog)
    if (packet.qos === 0) this.#broker.offer(message, this.#flushed)
    else if (packet.qos === 1) {
      const owed = this.#acknowledgements.owe(Reply.Puback, packet.packetId)
      this.#broker.offer(message, () => {
        this.#flushed()
        this.#acknowledgements.pay(owed)
      })
    } else this.#publishOnce(packet.packetId, message)
  }

  /** QoS 2: the message is in the log before its PUBREC leaves; a repetition before PUBREL is recognised by packet id. */
  #publishOnce(packetId: number, message: Parameters<Broker["offer"]>[0]) {
    const { received } = this.#session!
    const known = received.get(packetId)
    if (known === undefined && received.size >= MAX_AWAITING_RELEASE) {
      this.#broker.count("receive-maximum")
      return this.#end(Reply.DisconnectReason.receiveMaximum)
    }
    const owed = this.#acknowledgements.owe(Reply.Pubrec, packetId)
    if (known !== undefined) {
      this.#flushed()
      if (known.stored) this.#acknowledgements.pay(owed)
      else known.waiting.push(() => this.#acknowledgements.pay(owed))
      return
    }
    const entry = { stored: false, waiting: [() => this.#acknowledgements.pay(owed)] }
    received.set(packetId, entry)
    this.#broker.offer(message, () => {
      this.#flushed()
      entry.stored = true
      for (const pay of entry.waiting.splice(0)) pay()
    })
  }

  #pubrel(packetId: number) {
    this.#session!.received.delete(packetId)
    this.#acknowledgements.pay(this.#acknowledgements.owe(Reply.Pubcomp, packetId))
  }

  #flushed = () => {
    this.#unflushed--
    if (this.#unflushed <= MAX_UNFLUSHED / 2) this.#release(Backlog)
  }

  // ── subscribing ──────────────────────────────────────────────────────────────────────────────────────────────────

  #subscribe(packet: ISubscribePacket) {
    if (packet.subscriptions.length === 0 || (packet.messageId ?? 0) <= 0) {
      return this.#end(Reply.DisconnectReason.malformed)
    }
    const granted = packet.subscriptions.map(({ topic, qos }) => {
      if (subscribePermission(this.#origin!.sender!, topic)._tag === "Refused") {
        this.#broker.count("subscribe")
        return topic.startsWith("$share/") ? 0x9e : 0x87
      }
      this.#session!.filters.add(topic)
      return qos
    })
    this.#write(Reply.subscribed(this.#version, packet.messageId!, granted))
  }

  #unsubscribe(packet: IUnsubscribePacket) {
    if (packet.unsubscriptions.length === 0 || (packet.messageId ?? 0) <= 0) {
      return this.#end(Reply.DisconnectReason.malformed)
    }
    const granted = packet.unsubscriptions.map((filter) => (this.#session!.filters.delete(filter) ? 0 : 0x11))
    this.#write(Reply.unsubscribed(this.#version, packet.messageId!, granted))
  }

  // ── ending ───────────────────────────────────────────────────────────────────────────────────────────────────────

  /** Cuts what has been silent, or amid one packet, for too long. Called about once a second. */
  sweep(now: number) {
    if (this.#stage === "loggingIn" || (this.#holds & ~Draining) !== 0) return
    if (now > this.#deadline) {
      this.#broker.count(this.#stage === "connecting" ? "connect-timeout" : "keep-alive")
      return this.#end(Reply.DisconnectReason.keepAlive)
    }
    if (!this.#framer.amid) this.#amid.packets = -1
    else if (this.#amid.packets !== this.#packets) this.#amid = { packets: this.#packets, since: now }
    else if (now - this.#amid.since > PACKET_TIMEOUT_MILLIS) {
      this.#broker.count("packet-timeout")
      this.#end(Reply.DisconnectReason.keepAlive)
    }
  }

  /** Reads no more; true when nothing is left to acknowledge. */
  drained() {
    this.#hold(Draining)
    return this.#unflushed === 0 && this.#acknowledgements.settled
  }

  shutDown() {
    this.#will = undefined
    this.#end(Reply.DisconnectReason.shuttingDown)
  }

  #write(bytes: Buffer) {
    if (!this.#socket.writable) return
    this.#socket.write(bytes)
    if (this.#socket.writableLength > MAX_UNREAD_BYTES) {
      this.#broker.count("slow-reader")
      this.#close("does not read")
    }
  }

  /** MQTT 5 is told why, 3.1.1 finds the connection closed. */
  #end(reason: number) {
    if (this.#stage === "open" && this.#version === 5) this.#write(Reply.disconnect(reason))
    this.#close(`0x${reason.toString(16)}`)
  }

  #close(reason: string) {
    if (this.#stage === "closed") return
    const wasOpen = this.#stage === "open"
    this.#stage = "closed"
    this.#framer.stop()
    // What still arrives is read and thrown away for a moment: unread bytes would make the close a reset, which can overtake
    // the reason that was just written.
    this.#socket.end()
    this.#socket.resume()
    setTimeout(() => this.#socket.destroy(), LINGER_MILLIS).unref()
    this.#unreserve()
    this.#acknowledgements.forget()
    this.#broker.budget.remove(this)
    this.#broker.connections.delete(this)
    if (!wasOpen) return
    const origin = this.#origin!
    this.#broker.sessions.leave(origin.sender!.deviceId, this.#session!, Date.now())
    this.#broker.disconnected(origin.sender!, origin.clientId!, reason)
    if (this.#will !== undefined && Buffer.byteLength(this.#will.payload) <= MAX_PAYLOAD_BYTES) {
      const payload = Buffer.from(this.#will.payload as Buffer)
      this.#broker.offer({ origin, topic: this.#will.topic, contentType: undefined, payload }, () => {})
    }
  }
}
