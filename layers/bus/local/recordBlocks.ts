/**
 * Consecutive records of one partition as one value of the store. Layout: the number 2, the number of records and the length of
 * each (32 bits, little-endian), and the records. A value that begins with 0 or 1 is one record alone, as logs of format 1 have
 * them: those are the flags of {@link ./recordBytes.ts}.
 * @module
 */
import { asBuffer } from "./recordBytes.ts"

const BLOCK = 2
const COUNT_AT = 1
const LENGTHS_AT = 5
const LENGTH_BYTES = 4

/** What a block holds at most, unless its one record is larger: who reads one record reads its block. */
const MAX_BLOCK_BYTES = 32_768

/** Consecutive records in the making. */
export class RecordBlock {
  readonly slot: number
  /** Offset of the first. */
  readonly first: number
  readonly #records: Array<Uint8Array> = []
  #bytes = 0

  constructor(slot: number, first: number) {
    this.slot = slot
    this.first = first
  }

  /** False: another block has to take it. */
  add(offset: number, record: Uint8Array): boolean {
    const records = this.#records
    if (offset !== this.first + records.length) return false
    if (records.length > 0 && this.#bytes + record.length > MAX_BLOCK_BYTES) return false
    records.push(record)
    this.#bytes += record.length
    return true
  }

  encode(): Uint8Array {
    const records = this.#records
    const block = Buffer.allocUnsafe(LENGTHS_AT + records.length * LENGTH_BYTES + this.#bytes)
    block[0] = BLOCK
    block.writeUInt32LE(records.length, COUNT_AT)
    let lengthAt = LENGTHS_AT
    let at = LENGTHS_AT + records.length * LENGTH_BYTES
    for (const record of records) {
      block.writeUInt32LE(record.length, lengthAt)
      block.set(record, at)
      lengthAt += LENGTH_BYTES
      at += record.length
    }
    return block
  }
}

/** How many records the value of a store holds. */
export const recordsIn = (value: Uint8Array): number =>
  value[0] === BLOCK ? asBuffer(value).readUInt32LE(COUNT_AT) : 1

/**
 * Visits those from `from` up to but not including `to`, in order, until `visit` returns false.
 * @param first offset of the value's first record
 * @returns whether the next value is to be visited
 */
export const visitRecords = (
  value: Uint8Array,
  first: number,
  from: number,
  to: number,
  visit: (offset: number, bytes: Uint8Array) => boolean
): boolean => {
  if (value[0] !== BLOCK) return first < from || (first < to && visit(first, value))
  const block = asBuffer(value)
  const count = block.readUInt32LE(COUNT_AT)
  let at = LENGTHS_AT + count * LENGTH_BYTES
  for (let index = 0; index < count; index++) {
    const offset = first + index
    if (offset >= to) return false
    const end = at + block.readUInt32LE(LENGTHS_AT + index * LENGTH_BYTES)
    if (offset >= from && !visit(offset, value.subarray(at, end))) return false
    at = end
  }
  return true
}
