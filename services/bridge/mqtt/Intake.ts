/**
 * What a socket brings in: cut into packets, and held back while there is a reason to. Room for a packet that arrives in
 * pieces is reserved before it is gathered.
 * @module
 */
import { type Socket } from "node:net"
import { type ByteBudget, type Reader } from "../ByteBudget.ts"
import { PacketFramer, type PacketSink } from "./PacketFramer.ts"

const LINGER_MILLIS = 1_000

/** Why nothing is read, as bits; those from `Hold.own` on are the owner's. */
export const Hold = { budgetSpent: 1, awaitingRoom: 2, own: 4 } as const

export interface IntakeOwner extends Pick<PacketSink, "limit" | "tooLarge" | "packet"> {
  /** What was held back is about to be looked at. */
  resumed(): void
  /** Reading failed in a way that must not be: a fault of ours. */
  fault(defect: unknown): void
}

export class Intake implements Reader, PacketSink {
  readonly #socket: Socket
  readonly #budget: ByteBudget
  readonly #owner: IntakeOwner
  readonly #framer = new PacketFramer(this)
  #holds = 0
  #reserved = 0
  #closed = false

  constructor(socket: Socket, budget: ByteBudget, owner: IntakeOwner) {
    this.#socket = socket
    this.#budget = budget
    this.#owner = owner
    socket.on("data", (chunk: Buffer) => this.#guard(() => this.#framer.feed(chunk)))
    budget.add(this)
  }

  /** Whether nothing is read for another reason than those in `except`. */
  heldBut(except: number) {
    return (this.#holds & ~except) !== 0
  }
  /** A packet has begun and is not complete. */
  get amid() {
    return this.#framer.amid
  }

  pause() {
    this.hold(Hold.budgetSpent)
  }
  resume() {
    this.release(Hold.budgetSpent)
  }

  hold(why: number) {
    if (this.#holds === 0) {
      this.#socket.pause()
      this.#framer.hold()
    }
    this.#holds |= why
  }

  release(why: number) {
    if ((this.#holds & why) === 0) return
    this.#holds &= ~why
    if (this.#holds !== 0 || this.#closed) return
    this.#owner.resumed()
    this.#guard(() => this.#framer.resume())
    if (this.#holds === 0) this.#socket.resume()
  }

  /** Ends the connection. What still arrives is read and thrown away for a moment: unread bytes would make the close a reset,
   * which can overtake what was just written. */
  close() {
    this.#closed = true
    this.#framer.stop()
    this.#socket.end()
    this.#socket.resume()
    setTimeout(() => this.#socket.destroy(), LINGER_MILLIS).unref()
    this.#unreserve()
    this.#budget.remove(this)
  }

  limit(header: number) {
    return this.#owner.limit(header)
  }
  tooLarge() {
    this.#owner.tooLarge()
  }
  packet(header: number, body: Buffer) {
    this.#owner.packet(header, body)
    this.#unreserve()
  }

  #granted = () => this.release(Hold.awaitingRoom)
  reserve(length: number) {
    this.#reserved = length
    if (!this.#budget.reserve(length, this.#granted)) this.hold(Hold.awaitingRoom)
  }
  #unreserve() {
    if (this.#reserved === 0) return
    const reserved = this.#reserved
    this.#reserved = 0
    this.#budget.unreserve(reserved, this.#granted)
  }

  /** A fault of ours in one connection ends that connection and nothing else. */
  #guard(read: () => void) {
    try {
      read()
    } catch (defect) {
      this.#owner.fault(defect)
    }
  }
}
