/**
 * Cuts a byte stream into MQTT packets. A packet's announced length is judged before any of its bytes are kept.
 * @module
 */

/** Packets above this size that have not arrived whole need room granted before they are gathered. */
const SMALL_PACKET = 16_384

export interface PacketSink {
  /** The largest remaining length accepted for a packet with this first byte; negative: no such packet at this moment. */
  limit(header: number): number
  /** A packet announced more than its limit, or a length of five bytes: nothing more is read. */
  tooLarge(): void
  /** A packet that arrives in pieces needs room. The sink may {@link PacketFramer.hold} until there is. */
  reserve(length: number): void
  /** A whole packet: its first byte and all after the length. Small ones alias the bytes that were fed. */
  packet(header: number, body: Buffer): void
}

export class PacketFramer {
  readonly #sink: PacketSink
  #header = -1
  #length = 0
  #lengthBytes = 0
  #body: Buffer | undefined
  #filled = 0
  #held: Buffer | undefined
  #holding = false
  #stopped = false

  constructor(sink: PacketSink) {
    this.#sink = sink
  }

  /** Nothing fed from here on is looked at. */
  stop() {
    this.#stopped = true
    this.#held = undefined
    this.#body = undefined
  }

  /** Keeps what is fed instead of cutting it, until {@link resume}. */
  hold() {
    this.#holding = true
  }

  /** A packet has begun and is not complete. */
  get amid() {
    return this.#header >= 0
  }

  feed(chunk: Buffer) {
    if (this.#stopped) return
    if (this.#holding) {
      this.#held = this.#held === undefined ? chunk : Buffer.concat([this.#held, chunk])
      return
    }
    let at = 0
    while (at < chunk.length && !this.#stopped) {
      if (this.#holding) {
        this.#held = chunk.subarray(at)
        return
      }
      if (this.#body !== undefined) {
        const taken = Math.min(chunk.length - at, this.#length - this.#filled)
        chunk.copy(this.#body, this.#filled, at, at + taken)
        this.#filled += taken
        at += taken
        if (this.#filled === this.#length) this.#emit(this.#body)
        continue
      }
      if (this.#header < 0) {
        this.#header = chunk[at++]!
        this.#length = 0
        this.#lengthBytes = 0
        continue
      }
      const byte = chunk[at++]!
      this.#length += (byte & 0x7f) * 128 ** this.#lengthBytes
      this.#lengthBytes++
      if ((byte & 0x80) !== 0) {
        if (this.#lengthBytes === 4) this.#refuse()
        continue
      }
      if (this.#length > this.#sink.limit(this.#header)) this.#refuse()
      else if (chunk.length - at >= this.#length) {
        const body = chunk.subarray(at, at + this.#length)
        at += this.#length
        this.#emit(body)
      } else this.#gather()
    }
  }

  /** Goes on after {@link hold}, or after room was granted, with what was kept back. */
  resume() {
    this.#holding = false
    const held = this.#held
    this.#held = undefined
    if (held !== undefined) this.feed(held)
  }

  #gather() {
    this.#body = Buffer.allocUnsafeSlow(this.#length)
    this.#filled = 0
    if (this.#length > SMALL_PACKET) this.#sink.reserve(this.#length)
  }

  #refuse() {
    this.stop()
    this.#sink.tooLarge()
  }

  #emit(body: Buffer) {
    const header = this.#header
    this.#header = -1
    this.#body = undefined
    this.#sink.packet(header, body)
  }
}
