/**
 * What one connection has been given and has not taken. A slow one loses telemetry first, which it is told to read again; one
 * that does not even take events in time is closed, and reads everything again when it is back.
 * @module
 */

/** Above this a connection is slow, below a quarter of it no longer. */
export const SLOW_BYTES = 262_144
/** Above this it is closed. */
export const FULL_BYTES = 8_388_608

/** As much of Engine.IO's socket as is needed here. */
export interface Transporting {
  readonly transport: { readonly writable: boolean }
  on(event: "packetCreate", listener: (packet: { readonly type: string; readonly data?: unknown }) => void): unknown
  on(event: "flush", listener: () => void): unknown
}

export interface OutboxEvents {
  readonly queued: () => void
  readonly slow: () => void
  readonly full: () => void
}

/** Frame and bookkeeping of a packet, roughly. */
const PACKET_BYTES = 64

export class Outbox {
  readonly #socket: Transporting
  /** Handed to the transport, which has not taken all of it while it is not writable. */
  #handedOver = 0
  /** Waits for the transport. */
  #waiting = 0
  isSlow = false
  /** Telemetry was left out since it is slow. */
  hasMissed = false
  #isFull = false

  constructor(socket: Transporting, events: OutboxEvents, limits = { slow: SLOW_BYTES, full: FULL_BYTES }) {
    this.#socket = socket
    socket.on("packetCreate", ({ data, type }) => {
      if (socket.transport.writable) this.#handedOver = 0
      this.#waiting += PACKET_BYTES + (typeof data === "string" ? data.length : 0)
      if (type === "message") events.queued()
      if (this.bytes > limits.full && !this.#isFull) {
        this.#isFull = true
        events.full()
      } else if (this.bytes > limits.slow && !this.isSlow) {
        this.isSlow = true
        events.slow()
      }
    })
    socket.on("flush", () => {
      this.#handedOver = this.#waiting
      this.#waiting = 0
    })
  }

  /** UTF-16 units of what has not been taken, roughly bytes. */
  get bytes(): number {
    return this.#waiting + (this.#socket.transport.writable ? 0 : this.#handedOver)
  }

  /** It was slow and has caught up. Whether telemetry was left out meanwhile. */
  recover(limit = SLOW_BYTES / 4): { readonly hasMissed: boolean } | undefined {
    if (!this.isSlow || this.bytes > limit) return undefined
    const { hasMissed } = this
    this.isSlow = false
    this.hasMissed = false
    return { hasMissed }
  }
}
