/**
 * The bytes that devices have sent and the log has not yet flushed, bounded for the whole process. Past the bound every
 * source of bytes stops reading until enough has been flushed; what was read already is always let through, so the bound
 * may be passed by what one read of each socket brings.
 * @module
 */

/** A source of bytes, told when to stop reading and when to go on. */
export interface Reader {
  pause(): void
  resume(): void
}

interface Waiting {
  readonly bytes: number
  readonly granted: () => void
}

export class ByteBudget {
  readonly limit: number
  #inFlight = 0
  #paused = false
  #readers = new Set<Reader>()
  /** Packets that arrive in pieces may hold half of the bound at most, so that small messages always pass them by. */
  #partial = 0
  #waiting: Array<Waiting> = []

  constructor(limit: number) {
    this.limit = limit
  }

  /** Nothing more should be taken in. */
  get exhausted() {
    return this.#paused
  }
  get inFlight() {
    return this.#inFlight
  }

  /** `bytes` came in; give them back with {@link release} when they are flushed or dropped. */
  take(bytes: number) {
    this.#inFlight += bytes
    if (!this.#paused && this.#inFlight >= this.limit) {
      this.#paused = true
      for (const reader of this.#readers) reader.pause()
    }
  }

  release(bytes: number) {
    this.#inFlight -= bytes
    if (this.#paused && this.#inFlight <= this.limit * 0.75) {
      this.#paused = false
      for (const reader of this.#readers) {
        if (this.#paused) break // what a reader held back filled the budget again
        reader.resume()
      }
    }
  }

  /** Room for a packet whose bytes are still arriving. True: granted. False: `granted` is called when its turn comes. */
  reserve(bytes: number, granted: () => void): boolean {
    if (this.#waiting.length === 0 && this.#fits(bytes)) {
      this.#partial += bytes
      return true
    }
    this.#waiting.push({ bytes, granted })
    return false
  }

  /** Gives a granted reservation back, or withdraws one that still waits. */
  unreserve(bytes: number, granted: () => void) {
    const waiting = this.#waiting.findIndex((one) => one.granted === granted)
    if (waiting >= 0) this.#waiting.splice(waiting, 1)
    else this.#partial -= bytes
    let next = this.#waiting[0]
    while (next !== undefined && this.#fits(next.bytes)) {
      this.#waiting.shift()
      this.#partial += next.bytes
      next.granted()
      next = this.#waiting[0]
    }
  }

  #fits(bytes: number) {
    return this.#partial === 0 || this.#partial + bytes <= this.limit / 2
  }

  add(reader: Reader) {
    this.#readers.add(reader)
    if (this.#paused) reader.pause()
  }
  remove(reader: Reader) {
    this.#readers.delete(reader)
  }
}
