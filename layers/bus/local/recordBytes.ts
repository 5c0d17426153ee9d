/**
 * A record as bytes. Layout: flags (1 = the text is ASCII), appended-at (float64, little-endian), then as LEB128 the
 * number of texts and the length of each in UTF-16 units (key, then name and value of each header) and the length of the
 * text in bytes, the texts in UTF-8 without separators, and the value.
 * @module
 */
import type { Instant } from "@argusiq/domain/ids.ts"
import type { BusRecord, StoredRecord } from "../Bus.ts"

const ASCII = 1
const APPENDED_AT = 1
const FIXED_BYTES = 9
const MAX_LENGTH_BYTES = 5
const SLAB_BYTES = 1_048_576

/** One record in the encoder's memory. */
export interface EncodedRecord {
  readonly bytes: Uint8Array
  /** The key's UTF-8 within `bytes`. */
  readonly keyStart: number
  readonly keyEnd: number
  /** Of key, headers and value together: what a topic's limit goes by. */
  readonly size: number
}

/** Encodes into memory that is used again after `reset`; until then what it returned stays valid. */
export class RecordEncoder {
  #slab = Buffer.allocUnsafeSlow(SLAB_BYTES) // with an ArrayBuffer of its own, from the first byte on
  #used = 0

  reset(): void {
    this.#used = 0
  }

  encode(record: BusRecord, appendedAt: Instant): EncodedRecord {
    const { key, value, headers } = record
    let text = key
    let texts = 1
    for (const name in headers) {
      text += name + (headers[name] as string)
      texts += 2
    }
    const room = FIXED_BYTES + (texts + 2) * MAX_LENGTH_BYTES + text.length * 3 + value.length
    if (this.#slab.length - this.#used < room) {
      // The full slab lives on through the records in it.
      this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB_BYTES, room))
      this.#used = 0
    }
    const slab = this.#slab
    const start = this.#used
    slab.writeDoubleLE(appendedAt, start + APPENDED_AT)
    let at = writeLength(slab, start + FIXED_BYTES, texts)
    at = writeLength(slab, at, key.length)
    for (const name in headers) {
      at = writeLength(slab, at, name.length)
      at = writeLength(slab, at, (headers[name] as string).length)
    }
    const textBytes = Buffer.byteLength(text)
    at = writeLength(slab, at, textBytes)
    const ascii = textBytes === text.length
    slab[start] = ascii ? ASCII : 0
    const keyStart = at - start
    slab.write(text, at, ascii ? "latin1" : "utf8")
    at += textBytes
    slab.set(value, at)
    this.#used = at + value.length
    return {
      bytes: new Uint8Array(slab.buffer, start, this.#used - start),
      keyStart,
      keyEnd: keyStart + (ascii ? key.length : Buffer.byteLength(key)),
      size: textBytes + value.length
    }
  }
}

const writeLength = (target: Uint8Array, at: number, length: number): number => {
  while (length > 127) {
    target[at++] = (length & 127) | 128
    length >>>= 7
  }
  target[at++] = length
  return at
}

/** Only the instant, without opening the rest. */
export const appendedAtOf = (bytes: Uint8Array): Instant => asBuffer(bytes).readDoubleLE(APPENDED_AT)

/** The same memory. */
export const asBuffer = (bytes: Uint8Array): Buffer =>
  Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)

/** Of the record decoded last: most have the same, and comparing them is cheaper than making the strings anew. */
const lastNames: Array<string> = []

/** The record's value is a view of `bytes`. */
export const decodeRecord = (topic: string, partition: number, offset: number, bytes: Uint8Array): StoredRecord => {
  const buffer = asBuffer(bytes)
  let at = FIXED_BYTES
  const readLength = (): number => {
    let length = 0
    for (let shift = 0; ; shift += 7) {
      const byte = buffer[at++] as number
      length |= (byte & 127) << shift
      if (byte < 128) return length
    }
  }
  const texts = readLength()
  const lengths: Array<number> = []
  while (lengths.length < texts) lengths.push(readLength())
  const textBytes = readLength()
  const text = buffer.toString(buffer[0] === ASCII ? "latin1" : "utf8", at, at + textBytes)
  let from = lengths[0] as number
  const key = text.substring(0, from)
  const headers: Record<string, string> = {}
  for (let i = 1; i < lengths.length; i += 2) {
    const middle = from + (lengths[i] as number)
    const to = middle + (lengths[i + 1] as number)
    let name = lastNames[i]
    if (name === undefined || name.length !== lengths[i] || !text.startsWith(name, from)) {
      name = lastNames[i] = text.substring(from, middle)
    }
    const value = text.substring(middle, to)
    if (name === "__proto__") Object.defineProperty(headers, name, { value, enumerable: true })
    else headers[name] = value
    from = to
  }
  return {
    topic,
    partition,
    offset: BigInt(offset),
    appendedAt: buffer.readDoubleLE(APPENDED_AT),
    key,
    headers,
    value: new Uint8Array(bytes.buffer, bytes.byteOffset + at + textBytes, bytes.length - at - textBytes),
    parsed: undefined
  }
}
