/**
 * One client's publishes: offered to the log, and acknowledged when it has flushed them, in the order in which they came.
 * @module
 */
import { type Incoming, type Origin } from "../Incoming.ts"
import { Acknowledgements } from "./Acknowledgements.ts"
import { type PublishPacket } from "./publish-packet.ts"
import * as Reply from "./replies.ts"
import { type Session } from "./Sessions.ts"

/** Messages of one connection that the log has not flushed; past it only this connection waits. */
const MAX_UNFLUSHED = 1_000
/** QoS 2 messages between PUBLISH and PUBREL. */
export const MAX_AWAITING_RELEASE = 1_000

export interface PublishingOwner {
  offer(message: Incoming, done: () => void): void
  write(bytes: Buffer): void
  /** Too many messages wait for the log: nothing more should be read until `flowing`. */
  congested(): void
  flowing(): void
}

export class Publishing {
  readonly #owner: PublishingOwner
  readonly #origin: Origin
  readonly #received: Session["received"]
  readonly #acknowledgements: Acknowledgements
  #unflushed = 0
  #topicBytes: Buffer = Buffer.alloc(0)
  #topic = ""

  constructor(owner: PublishingOwner, origin: Origin, { received }: Session) {
    this.#owner = owner
    this.#origin = origin
    this.#received = received
    this.#acknowledgements = new Acknowledgements((bytes) => owner.write(bytes))
  }

  /** Nothing is left to acknowledge. */
  get settled() {
    return this.#unflushed === 0 && this.#acknowledgements.settled
  }

  /** False: more QoS 2 messages await their release than the client was told it may send. */
  publish(packet: PublishPacket): boolean {
    if (!this.#topicBytes.equals(packet.topic)) {
      this.#topicBytes = Buffer.from(packet.topic)
      this.#topic = packet.topic.toString("utf8")
    }
    const message = {
      origin: this.#origin,
      topic: this.#topic,
      contentType: packet.contentType,
      payload: packet.payload,
      traceparent: packet.traceparent
    }
    if (packet.qos === 2) return this.#publishOnce(packet.packetId, message)
    this.#expectFlush()
    if (packet.qos === 0) this.#owner.offer(message, this.#flushed)
    else {
      const owed = this.#acknowledgements.owe(Reply.Puback, packet.packetId)
      this.#owner.offer(message, () => {
        this.#flushed()
        this.#acknowledgements.pay(owed)
      })
    }
    return true
  }

  /** QoS 2: the message is in the log before its PUBREC leaves; a repetition before PUBREL is recognised by packet id. */
  #publishOnce(packetId: number, message: Incoming) {
    const known = this.#received.get(packetId)
    if (known === undefined && this.#received.size >= MAX_AWAITING_RELEASE) return false
    const owed = this.#acknowledgements.owe(Reply.Pubrec, packetId)
    const pay = () => this.#acknowledgements.pay(owed)
    if (known !== undefined) {
      if (known.stored) pay()
      else known.waiting.push(pay)
      return true
    }
    const entry = { stored: false, waiting: [pay] }
    this.#received.set(packetId, entry)
    this.#expectFlush()
    this.#owner.offer(message, () => {
      this.#flushed()
      entry.stored = true
      for (const pay of entry.waiting.splice(0)) pay()
    })
    return true
  }

  release(packetId: number) {
    this.#received.delete(packetId)
    this.#acknowledgements.pay(this.#acknowledgements.owe(Reply.Pubcomp, packetId))
  }

  /** Nothing more is sent: the connection is gone. */
  forget() {
    this.#acknowledgements.forget()
  }

  #expectFlush() {
    this.#unflushed++
    if (this.#unflushed >= MAX_UNFLUSHED) this.#owner.congested()
  }
  #flushed = () => {
    this.#unflushed--
    if (this.#unflushed <= MAX_UNFLUSHED / 2) this.#owner.flowing()
  }
}
