/**
 * A device for load and fault tests: one MQTT 3.1.1 connection that publishes with QoS 1, keeps at most `window` messages
 * unacknowledged, and after a lost connection sends again, in order, what was not acknowledged. It costs little processor
 * time, so that thousands of them leave the machine to the platform.
 * @module
 */
import { generate, type IConnackPacket, type IPubackPacket, type Packet, parser as packetParser } from "mqtt-packet"
import { connect, type Socket } from "node:net"

export interface OutgoingMessage {
  readonly sequence: number
  readonly payload: Uint8Array
  /** Absent: that of the options. */
  readonly topic?: string
}

export interface DeviceOptions {
  readonly host?: string
  readonly port: number
  readonly deviceId: string
  readonly key: string
  readonly topic?: string
  readonly window: number
  /** Called in the order of sending, directly before the bytes go out; also for a repetition. */
  readonly onSend?: (message: OutgoingMessage) => void
  readonly onAcknowledged?: (message: OutgoingMessage) => void
  readonly onDisconnected?: (reason: string) => void
}

const PUBLISH_QOS1 = 0x32
const PUBLISH_QOS1_DUP = 0x3a
const RECONNECT_MILLIS = 200

const publishPacket = (topic: Uint8Array, packetId: number, payload: Uint8Array, repeated: boolean): Uint8Array => {
  const remaining = 2 + topic.length + 2 + payload.length
  const head = remaining < 128 ? 2 : remaining < 16_384 ? 3 : remaining < 2_097_152 ? 4 : 5
  const packet = Buffer.allocUnsafe(head + remaining)
  packet[0] = repeated ? PUBLISH_QOS1_DUP : PUBLISH_QOS1
  let position = 1
  for (let rest = remaining; ;) {
    const digit = rest % 128
    rest = (rest - digit) / 128
    packet[position++] = rest > 0 ? digit | 128 : digit
    if (rest === 0) break
  }
  position = packet.writeUInt16BE(topic.length, position)
  packet.set(topic, position)
  position = packet.writeUInt16BE(packetId, position + topic.length)
  packet.set(payload, position)
  return packet
}

export class DeviceConnection {
  readonly options: DeviceOptions
  private readonly topic: Uint8Array
  private waiting: Array<OutgoingMessage> = []
  private repetitions = 0
  private inFlight = new Map<number, OutgoingMessage>()
  private nextPacketId = 1
  private socket: Socket | undefined
  private connected = false
  private closed = false

  constructor(options: DeviceOptions) {
    this.options = options
    this.topic = Buffer.from(options.topic ?? `devices/${options.deviceId}/telemetry`)
    this.open()
  }

  get isConnected(): boolean {
    return this.connected
  }

  /** Sent or not, without an acknowledgement. */
  get outstanding(): number {
    return this.waiting.length + this.inFlight.size
  }

  publish(message: OutgoingMessage): void {
    this.waiting.push(message)
    this.pump()
  }

  close(): void {
    this.closed = true
    this.socket?.destroy()
  }

  private open(): void {
    if (this.closed) return
    const socket = connect(this.options.port, this.options.host ?? "127.0.0.1")
    this.socket = socket
    socket.setNoDelay(true)
    const parser = packetParser({ protocolVersion: 4 })
    parser.on("packet", (packet: Packet) => this.received(packet))
    socket.on("connect", () => {
      socket.write(
        generate({
          cmd: "connect",
          protocolId: "MQTT",
          protocolVersion: 4,
          clean: true,
          clientId: this.options.deviceId,
          keepalive: 60,
          username: this.options.deviceId,
          password: Buffer.from(this.options.key)
        })
      )
    })
    socket.on("data", (bytes) => parser.parse(bytes))
    let reason = "closed by the broker"
    socket.on("error", (error) => {
      reason = error.message
    })
    socket.on("close", () => this.lost(reason))
  }

  private lost(reason: string): void {
    this.connected = false
    this.repetitions += this.inFlight.size
    this.waiting = [...this.inFlight.values(), ...this.waiting]
    this.inFlight = new Map()
    if (this.closed) return
    this.options.onDisconnected?.(reason)
    setTimeout(() => this.open(), RECONNECT_MILLIS)
  }

  private received(packet: Packet): void {
    if (packet.cmd === "connack") {
      const { returnCode } = packet as IConnackPacket
      if (returnCode !== 0) {
        this.options.onDisconnected?.(`CONNACK ${returnCode}`)
        this.socket?.destroy()
        return
      }
      this.connected = true
      this.pump()
    } else if (packet.cmd === "puback") {
      const { messageId } = packet as IPubackPacket
      const message = messageId === undefined ? undefined : this.inFlight.get(messageId)
      if (message === undefined) return
      this.inFlight.delete(messageId ?? 0)
      this.options.onAcknowledged?.(message)
      this.pump()
    }
  }

  private pump(): void {
    const { socket } = this
    if (!this.connected || socket === undefined || this.waiting.length === 0) return
    const room = this.options.window - this.inFlight.size
    if (room <= 0) return
    const batch = this.waiting.splice(0, room)
    socket.cork()
    for (const message of batch) {
      const packetId = this.nextPacketId
      this.nextPacketId = packetId === 65_535 ? 1 : packetId + 1
      this.inFlight.set(packetId, message)
      this.options.onSend?.(message)
      const repeated = this.repetitions > 0
      if (repeated) this.repetitions -= 1
      socket.write(
        publishPacket(
          message.topic === undefined ? this.topic : Buffer.from(message.topic),
          packetId,
          message.payload,
          repeated
        )
      )
    }
    socket.uncork()
  }
}
