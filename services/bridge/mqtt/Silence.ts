/**
 * How long a client may be silent, and how long it may take to send one packet.
 * @module
 */

const PACKET_TIMEOUT_MILLIS = 60_000

export class Silence {
  /** Epoch milliseconds by which the client must have sent something. */
  #deadline: number
  #allowedMillis = Infinity
  #packets = 0
  #amid = { packets: -1, since: 0 }

  /** `until`, in epoch milliseconds: the client must have said who it is. */
  constructor(until: number) {
    this.#deadline = until
  }

  /** From now on one and a half keep-alives are allowed; 0: any silence. */
  keepAlive(seconds: number) {
    this.#allowedMillis = seconds === 0 ? Infinity : seconds * 1500
    this.extend()
  }

  heard() {
    this.#packets++
    if (this.#allowedMillis !== Infinity) this.extend()
  }

  /** The silence begins now: what came meanwhile has not been looked at. */
  extend() {
    this.#deadline = Date.now() + this.#allowedMillis
  }

  /** `amid`: a packet has begun and is not complete. Asked about once a second. */
  judge(now: number, amid: boolean): "bearable" | "silent" | "slow" {
    if (now > this.#deadline) return "silent"
    if (!amid) this.#amid.packets = -1
    else if (this.#amid.packets !== this.#packets) this.#amid = { packets: this.#packets, since: now }
    else if (now - this.#amid.since > PACKET_TIMEOUT_MILLIS) return "slow"
    return "bearable"
  }
}
