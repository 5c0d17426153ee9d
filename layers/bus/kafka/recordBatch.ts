/**
 * Kafka's record batch, format 2 (https://kafka.apache.org/documentation/#recordbatch): how records lie in requests,
 * responses and on the brokers' disks.
 * @module
 */
import type { BusRecord, StoredRecord } from "../Bus.ts"
import { crc32c } from "./crc32c.ts"

const LENGTH_AT = 8
const LEADER_EPOCH_AT = 12
const MAGIC_AT = 16
const CRC_AT = 17
const ATTRIBUTES_AT = 21
const LAST_OFFSET_DELTA_AT = 23
const BASE_TIMESTAMP_AT = 27
const MAX_TIMESTAMP_AT = 35
const PRODUCER_ID_AT = 43
const PRODUCER_EPOCH_AT = 51
const BASE_SEQUENCE_AT = 53
const COUNT_AT = 57
const RECORDS_AT = 61

const MAGIC = 2
const COMPRESSION = 0x07
const LOG_APPEND_TIME = 0x08
const CONTROL = 0x20

/** Of a length or a count before what it counts. */
const MAX_VARINT_BYTES = 5
/** Attributes, time and offset of a record, its own length and those of its parts. */
const RECORD_OVERHEAD = 32
export const BATCH_OVERHEAD = RECORDS_AT

/** Bytes of key, headers and value together: what a topic's limit goes by. */
export const sizeOf = ({ key, headers, value }: BusRecord): number => {
  let size = textSize(key) + value.length
  for (const name in headers) size += textSize(name) + textSize(headers[name] as string)
  return size
}

/** No less than what the record takes in a batch. */
export const roomOf = ({ headers }: BusRecord, size: number): number => {
  let room = size + RECORD_OVERHEAD
  for (const _ in headers) room += 2 * MAX_VARINT_BYTES
  return room
}

const textSize = (text: string): number => {
  for (let at = 0; at < text.length; at++) if (text.charCodeAt(at) > 127) return Buffer.byteLength(text)
  return text.length
}

export interface ProducerIdentity {
  readonly id: bigint
  readonly epoch: number
}

/** One batch, its first record numbered `sequence`. `room`: that of all its records together. */
export const encodeBatch = (
  records: ReadonlyArray<BusRecord>,
  room: number,
  identity: ProducerIdentity,
  sequence: number,
  nowMillis: number
): Buffer => {
  const buffer = Buffer.allocUnsafe(RECORDS_AT + room)
  let at = RECORDS_AT
  for (let index = 0; index < records.length; index++) at = writeRecord(buffer, at, records[index] as BusRecord, index)
  const now = BigInt(nowMillis)
  buffer.writeBigInt64BE(0n, 0)
  buffer.writeInt32BE(at - LEADER_EPOCH_AT, LENGTH_AT)
  buffer.writeInt32BE(-1, LEADER_EPOCH_AT)
  buffer[MAGIC_AT] = MAGIC
  buffer.writeInt16BE(0, ATTRIBUTES_AT)
  buffer.writeInt32BE(records.length - 1, LAST_OFFSET_DELTA_AT)
  buffer.writeBigInt64BE(now, BASE_TIMESTAMP_AT)
  buffer.writeBigInt64BE(now, MAX_TIMESTAMP_AT)
  buffer.writeBigInt64BE(identity.id, PRODUCER_ID_AT)
  buffer.writeInt16BE(identity.epoch, PRODUCER_EPOCH_AT)
  buffer.writeInt32BE(sequence, BASE_SEQUENCE_AT)
  buffer.writeInt32BE(records.length, COUNT_AT)
  buffer.writeUInt32BE(crc32c(buffer, ATTRIBUTES_AT, at), CRC_AT)
  return buffer.subarray(0, at)
}

const writeRecord = (buffer: Buffer, start: number, record: BusRecord, offsetDelta: number): number => {
  const body = start + MAX_VARINT_BYTES
  let at = body
  buffer[at++] = 0 // attributes
  buffer[at++] = 0 // time since the batch's
  at = writeVarint(buffer, at, offsetDelta)
  at = writeText(buffer, at, record.key)
  at = writeVarint(buffer, at, record.value.length)
  buffer.set(record.value, at)
  at += record.value.length
  let count = 0
  for (const _ in record.headers) count++
  at = writeVarint(buffer, at, count)
  for (const name in record.headers) {
    at = writeText(buffer, at, name)
    at = writeText(buffer, at, record.headers[name] as string)
  }
  const moved = writeVarint(buffer, start, at - body)
  buffer.copyWithin(moved, body, at)
  return moved + at - body
}

/** Zigzag encoding of a number not below 0. */
const writeVarint = (buffer: Buffer, start: number, value: number): number => {
  let at = start
  let left = value * 2
  while (left > 127) {
    buffer[at++] = (left & 0x7f) | 0x80
    left = Math.floor(left / 128)
  }
  buffer[at++] = left
  return at
}

/** Short ASCII, which nearly all texts are, is written without asking for its length first. */
const writeText = (buffer: Buffer, at: number, text: string): number => {
  const { length } = text
  if (length < 64) {
    let index = 0
    for (; index < length; index++) {
      const unit = text.charCodeAt(index)
      if (unit > 127) break
      buffer[at + 1 + index] = unit
    }
    if (index === length) {
      buffer[at] = length * 2
      return at + 1 + length
    }
  }
  const start = writeVarint(buffer, at, Buffer.byteLength(text))
  return start + buffer.write(text, start)
}

export interface Decoded {
  readonly records: ReadonlyArray<StoredRecord>
  /** The offset after the last one that the bytes cover, be it of a record or of something that is none. */
  readonly next: number
}

/** The records from `from` on; a last batch that was cut off is left out. */
export const decodeBatches = (bytes: Buffer, topic: string, partition: number, from: number): Decoded => {
  const records: Array<StoredRecord> = []
  let next = from
  for (let start = 0; start + RECORDS_AT <= bytes.length;) {
    const end = start + LEADER_EPOCH_AT + bytes.readInt32BE(start + LENGTH_AT)
    if (end > bytes.length) break
    if (bytes[start + MAGIC_AT] !== MAGIC)
      throw new Error(`${topic}/${partition} holds batches of a format before Kafka 0.11`)
    next = Math.max(next, Number(bytes.readBigInt64BE(start)) + bytes.readInt32BE(start + LAST_OFFSET_DELTA_AT) + 1)
    decodeBatch(bytes, start, topic, partition, from, records)
    start = end
  }
  return { records, next }
}

/** Of the first record from `from` on, in microseconds, without opening its batch; undefined where there is none. */
export const appendedAtOf = (bytes: Buffer, from: number): number | undefined => {
  for (let start = 0; start + RECORDS_AT <= bytes.length;) {
    const attributes = bytes.readInt16BE(start + ATTRIBUTES_AT)
    const last = Number(bytes.readBigInt64BE(start)) + bytes.readInt32BE(start + LAST_OFFSET_DELTA_AT)
    if (last >= from && (attributes & CONTROL) === 0) {
      const at = (attributes & LOG_APPEND_TIME) === 0 ? BASE_TIMESTAMP_AT : MAX_TIMESTAMP_AT
      return Number(bytes.readBigInt64BE(start + at)) * 1_000
    }
    start += LEADER_EPOCH_AT + bytes.readInt32BE(start + LENGTH_AT)
  }
  return undefined
}

const decodeBatch = (
  bytes: Buffer,
  start: number,
  topic: string,
  partition: number,
  from: number,
  into: Array<StoredRecord>
): void => {
  const attributes = bytes.readInt16BE(start + ATTRIBUTES_AT)
  if ((attributes & CONTROL) !== 0) return
  if ((attributes & COMPRESSION) !== 0) {
    throw new Error(`${topic}/${partition} holds compressed batches, which its own producers never write`)
  }
  const base = Number(bytes.readBigInt64BE(start))
  const baseMillis = Number(bytes.readBigInt64BE(start + BASE_TIMESTAMP_AT))
  const maxMillis = Number(bytes.readBigInt64BE(start + MAX_TIMESTAMP_AT))
  const count = bytes.readInt32BE(start + COUNT_AT)
  const cursor = new Cursor(bytes, start + RECORDS_AT)
  for (let index = 0; index < count; index++) {
    const end = cursor.varint() + cursor.at
    cursor.at++ // attributes
    const millis = baseMillis + cursor.varint()
    const offset = base + cursor.varint()
    if (offset >= from) {
      const key = cursor.text()
      const value = cursor.bytesOf(Math.max(0, cursor.varint()))
      const appendedAt = ((attributes & LOG_APPEND_TIME) === 0 ? millis : maxMillis) * 1_000
      into.push({ topic, partition, offset: BigInt(offset), key, value, headers: cursor.headers(), appendedAt })
    }
    cursor.at = end
  }
}

/** Header names are few and come again and again. */
interface KnownName {
  readonly text: string
  readonly bytes: Uint8Array
}
const NAME_SLOTS = 256
const knownNames: Array<KnownName | undefined> = []

class Cursor {
  readonly bytes: Buffer
  at: number

  constructor(bytes: Buffer, at: number) {
    this.bytes = bytes
    this.at = at
  }

  varint(): number {
    const { bytes } = this
    let byte = bytes[this.at++] as number
    let value = byte & 0x7f
    let factor = 128
    while (byte > 127) {
      byte = bytes[this.at++] as number
      value += (byte & 0x7f) * factor
      factor *= 128
    }
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2
  }

  bytesOf(length: number): Uint8Array {
    const start = this.at
    this.at += length
    return new Uint8Array(this.bytes.buffer, this.bytes.byteOffset + start, length)
  }

  /** Null is the empty text. */
  text(): string {
    const length = this.varint()
    if (length <= 0) return ""
    const start = this.at
    this.at += length
    return this.bytes.toString("utf8", start, this.at)
  }

  headers(): Record<string, string> {
    const headers: Record<string, string> = {}
    const count = this.varint()
    for (let index = 0; index < count; index++) {
      const name = this.#name()
      const value = this.text()
      if (name === "__proto__") {
        Object.defineProperty(headers, name, { value, enumerable: true, configurable: true, writable: true })
      } else headers[name] = value
    }
    return headers
  }

  #name(): string {
    const length = this.varint()
    const { bytes, at: start } = this
    this.at += length
    let hash = length
    for (let at = start; at < this.at; at++) hash = (Math.imul(hash, 31) + (bytes[at] as number)) | 0
    const slot = (hash >>> 0) % NAME_SLOTS
    const known = knownNames[slot]
    if (known !== undefined && isAt(bytes, start, known.bytes, length)) return known.text
    const text = bytes.toString("utf8", start, this.at)
    knownNames[slot] = { text, bytes: Uint8Array.from(bytes.subarray(start, this.at)) }
    return text
  }
}

const isAt = (bytes: Buffer, start: number, name: Uint8Array, length: number): boolean => {
  if (name.length !== length) return false
  for (let index = 0; index < length; index++) if (bytes[start + index] !== name[index]) return false
  return true
}
