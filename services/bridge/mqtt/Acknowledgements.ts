/**
 * What a connection owes its client: acknowledgements leave in the order in which the packets came, those that fall due
 * together in one write.
 * @module
 */

/** An acknowledgement that leaves when it is due and all owed before it have left. */
export interface Owed {
  readonly kind: number
  readonly packetId: number
  due: boolean
}

export class Acknowledgements {
  readonly #write: (bytes: Buffer) => void
  #owed: Array<Owed> = []
  #scheduled = false

  constructor(write: (bytes: Buffer) => void) {
    this.#write = write
  }

  get settled() {
    return this.#owed.length === 0
  }

  /** `kind`: the first byte of the acknowledging packet. */
  owe(kind: number, packetId: number): Owed {
    const owed = { kind, packetId, due: false }
    this.#owed.push(owed)
    return owed
  }

  pay(owed: Owed) {
    owed.due = true
    if (this.#scheduled || this.#owed[0]?.due !== true) return
    this.#scheduled = true
    process.nextTick(() => this.#flush())
  }

  /** Nothing more is sent: the connection is gone. */
  forget() {
    this.#owed = []
  }

  #flush() {
    this.#scheduled = false
    let count = 0
    while (this.#owed[count]?.due === true) count++
    if (count === 0) return
    const bytes = Buffer.allocUnsafe(count * 4)
    for (let index = 0; index < count; index++) {
      const { kind, packetId } = this.#owed[index]!
      bytes[index * 4] = kind
      bytes[index * 4 + 1] = 2 // success is left out, also in MQTT 5
      bytes.writeUInt16BE(packetId, index * 4 + 2)
    }
    this.#owed.splice(0, count)
    this.#write(bytes)
  }
}
