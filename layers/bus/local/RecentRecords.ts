import type { StoredRecord } from "../Bus.ts"

/**
 * The newest durable records of one partition, as they were published: readers that keep up are spared the store and the
 * decoding. Bounded in bytes, and by what they have handled; what is not here is read from the store.
 */
export class RecentRecords {
  readonly #maxBytes: number
  #records: Array<StoredRecord | undefined> = []
  #sizes: Array<number> = []
  /** Index of the oldest record kept; those before it wait to be cut off together. */
  #head = 0
  /** Offset of the record at the head. */
  #first = 0
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** `size`: of the encoded record. The record is durable, and its bytes are never changed again. */
  add(offset: number, record: StoredRecord, size: number): void {
    if (offset !== this.#first + this.#records.length - this.#head) {
      this.#records = []
      this.#sizes = []
      this.#head = 0
      this.#first = offset
      this.#bytes = 0
    }
    this.#records.push(record)
    this.#sizes.push(size)
    this.#bytes += size
    while (this.#bytes > this.#maxBytes) this.#dropOldest()
    this.#cutOff()
  }

  /** Those below the offset are no longer needed. */
  dropBefore(offset: number): void {
    while (this.#first < offset && this.#head < this.#records.length) this.#dropOldest()
    this.#cutOff()
  }

  #dropOldest(): void {
    this.#bytes -= this.#sizes[this.#head] as number
    this.#records[this.#head++] = undefined // else it would be kept until it is cut off
    this.#first++
  }

  #cutOff(): void {
    if (this.#head > 1_024 && this.#head > this.#records.length / 2) {
      this.#records = this.#records.slice(this.#head)
      this.#sizes = this.#sizes.slice(this.#head)
      this.#head = 0
    }
  }

  /** The record at `offset`, when it is here. */
  at(offset: number): StoredRecord | undefined {
    return offset < this.#first ? undefined : this.#records[this.#head + offset - this.#first]
  }

  /** As `Log.read`; undefined when the record at `from` is not here. */
  read(from: number, to: number, maxRecords: number, maxBytes: number): Array<StoredRecord> | undefined {
    if (this.at(from) === undefined) return undefined
    const begin = this.#head + from - this.#first
    const limit = Math.min(this.#records.length, begin + Math.min(to - from, maxRecords))
    let end = begin + 1
    let bytes = this.#sizes[begin] as number
    while (end < limit && (bytes += this.#sizes[end] as number) <= maxBytes) end++
    return this.#records.slice(begin, end) as Array<StoredRecord>
  }
}
