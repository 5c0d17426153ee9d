/**
 * The requests of the hot path, and those that kafkajs does not have, in Kafka's protocol
 * (https://kafka.apache.org/protocol): unlike kafkajs' they answer for each partition by itself.
 * @module
 */
import { type Broker, encoded, type WireRequest } from "./kafkajs.ts"

class Reader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  #advance(length: number): number {
    const at = this.#at
    this.#at += length
    return at
  }

  int8 = (): number => this.#bytes.readInt8(this.#advance(1))
  int16 = (): number => this.#bytes.readInt16BE(this.#advance(2))
  int32 = (): number => this.#bytes.readInt32BE(this.#advance(4))
  int64 = (): number => Number(this.#bytes.readBigInt64BE(this.#advance(8)))

  bytes(length: number): Buffer {
    const at = this.#advance(Math.max(0, length))
    return this.#bytes.subarray(at, this.#at)
  }

  text = (): string => this.bytes(this.int16()).toString("utf8")

  list<A>(read: () => A): ReadonlyArray<A> {
    return Array.from({ length: Math.max(0, this.int32()) }, read)
  }

  /** Of the flexible versions: lengths are one more than what they count, 0 stands for null. */
  unsignedVarint(): number {
    let value = 0
    for (let factor = 1; ; factor *= 128) {
      const byte = this.#bytes[this.#advance(1)] as number
      value += (byte & 0x7f) * factor
      if (byte < 128) return value
    }
  }

  compactText = (): string => this.bytes(this.unsignedVarint() - 1).toString("utf8")

  compactList<A>(read: () => A): ReadonlyArray<A> {
    return Array.from({ length: Math.max(0, this.unsignedVarint() - 1) }, read)
  }

  skipTags(): void {
    for (let count = this.unsignedVarint(); count > 0; count--) {
      this.unsignedVarint()
      this.bytes(this.unsignedVarint())
    }
  }
}

const int8 = (value: number) => {
  const bytes = Buffer.allocUnsafe(1)
  bytes.writeInt8(value)
  return bytes
}
const int16 = (value: number) => {
  const bytes = Buffer.allocUnsafe(2)
  bytes.writeInt16BE(value)
  return bytes
}
const int32 = (value: number) => {
  const bytes = Buffer.allocUnsafe(4)
  bytes.writeInt32BE(value)
  return bytes
}
const int64 = (value: number) => {
  const bytes = Buffer.allocUnsafe(8)
  bytes.writeBigInt64BE(BigInt(value))
  return bytes
}
const text = (value: string) => {
  const bytes = Buffer.from(value)
  return [int16(bytes.length), bytes]
}

const send = <A>(
  broker: Broker,
  request: { readonly apiKey: number; readonly apiVersion: number; readonly apiName: string },
  body: ReadonlyArray<Uint8Array>,
  decode: (reader: Reader) => A,
  requestTimeout?: number
): Promise<A> => {
  const wire: WireRequest<A> = {
    request: { ...request, encode: () => Promise.resolve(encoded(Buffer.concat(body))) },
    response: {
      decode: (payload) => Promise.resolve({ ...decode(new Reader(payload)), clientSideThrottleTime: 0 }),
      parse: (decoded) => Promise.resolve(decoded)
    },
    ...(requestTimeout === undefined ? {} : { requestTimeout })
  }
  return broker.connectionPool.send(wire)
}

const byTopic = <A extends { readonly topic: string }>(items: ReadonlyArray<A>) => [
  ...Map.groupBy(items, ({ topic }) => topic)
]

export interface ProducePart {
  readonly topic: string
  readonly partition: number
  readonly batch: Buffer
}

/** By `topic/partition`, the protocol's error code; 0: appended, by as many replicas as the topic asks for. */
export const produce = (
  broker: Broker,
  parts: ReadonlyArray<ProducePart>,
  timeoutMillis: number
): Promise<{ readonly codes: ReadonlyMap<string, number> }> => {
  const topics = byTopic(parts)
  const body: Array<Uint8Array> = [int16(-1), int16(-1), int32(timeoutMillis), int32(topics.length)]
  for (const [topic, partitions] of topics) {
    body.push(...text(topic), int32(partitions.length))
    for (const { partition, batch } of partitions) body.push(int32(partition), int32(batch.length), batch)
  }
  return send(broker, { apiKey: 0, apiVersion: 7, apiName: "Produce" }, body, (reader) => {
    const codes = new Map<string, number>()
    reader.list(() => {
      const topic = reader.text()
      reader.list(() => {
        const partition = reader.int32()
        codes.set(`${topic}/${partition}`, reader.int16())
        reader.bytes(24) // base offset, time of appending, start of the log
      })
    })
    return { codes }
  })
}

export interface FetchPart {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  readonly maxBytes: number
}
export interface Fetched {
  readonly topic: string
  readonly partition: number
  readonly code: number
  /** The next offset that all in-sync replicas will have. */
  readonly end: number
  readonly start: number
  readonly batches: Buffer
}

/** At least the next batch of one partition, however large, where there is any within `maxWaitMillis`. */
export const fetch = (
  broker: Broker,
  parts: ReadonlyArray<FetchPart>,
  maxWaitMillis: number,
  maxBytes: number
): Promise<{ readonly partitions: ReadonlyArray<Fetched> }> => {
  const topics = byTopic(parts)
  const body: Array<Uint8Array> = [int32(-1), int32(maxWaitMillis), int32(1), int32(maxBytes), int8(0)]
  body.push(int32(0), int32(-1), int32(topics.length))
  for (const [topic, partitions] of topics) {
    body.push(...text(topic), int32(partitions.length))
    for (const { partition, offset, maxBytes } of partitions) {
      body.push(int32(partition), int32(-1), int64(offset), int64(-1), int32(maxBytes))
    }
  }
  body.push(int32(0), ...text(""))
  return send(broker, { apiKey: 1, apiVersion: 11, apiName: "Fetch" }, body, (reader) => {
    reader.bytes(10) // throttle time, error, session
    const partitions = reader
      .list(() => {
        const topic = reader.text()
        return reader.list((): Fetched => {
          const partition = reader.int32()
          const code = reader.int16()
          const end = reader.int64()
          reader.int64() // last stable offset
          const start = reader.int64()
          reader.list(() => reader.bytes(16)) // aborted transactions
          reader.int32() // preferred replica
          return { topic, partition, code, end, start, batches: reader.bytes(reader.int32()) }
        })
      })
      .flat()
    return { partitions }
  })
}

/** What a group has committed, of all topics. `code` is the protocol's, of the whole answer. */
export const committedOffsets = (
  broker: Broker,
  groupId: string
): Promise<{
  readonly code: number
  readonly offsets: ReadonlyArray<{ readonly topic: string; readonly partition: number; readonly offset: number }>
}> =>
  send(broker, { apiKey: 9, apiVersion: 3, apiName: "OffsetFetch" }, [...text(groupId), int32(-1)], (reader) => {
    reader.int32() // throttle time
    const offsets = reader
      .list(() => {
        const topic = reader.text()
        return reader.list(() => {
          const partition = reader.int32()
          const offset = reader.int64()
          reader.text() // metadata
          reader.int16() // error, of which this version has none for a partition that has an offset
          return { topic, partition, offset }
        })
      })
      .flat()
    return { offsets, code: reader.int16() }
  })

const METADATA = 3

/** What identifies a topic beyond its name, which a topic made later may have again; empty where brokers do not tell. */
export const topicIds = async (
  broker: Broker,
  topics: ReadonlyArray<string>
): Promise<{ readonly ids: ReadonlyMap<string, string> }> => {
  if ((broker.versions?.[METADATA]?.maxVersion ?? 0) < 12) return { ids: new Map() }
  const noTags = int8(0)
  const names = topics.flatMap((topic) => {
    const bytes = Buffer.from(topic)
    return [Buffer.alloc(16), Buffer.from([...varint(bytes.length + 1)]), bytes, noTags]
  })
  const body = [noTags, Buffer.from(varint(topics.length + 1)), ...names, int8(0), int8(0), noTags]
  return send(broker, { apiKey: METADATA, apiVersion: 12, apiName: "Metadata" }, body, (reader) => {
    reader.skipTags() // of the header
    reader.int32()
    reader.compactList(() => {
      reader.int32()
      reader.compactText()
      reader.int32()
      reader.compactText()
      reader.skipTags()
    })
    reader.compactText()
    reader.int32()
    const ids = new Map<string, string>()
    reader.compactList(() => {
      const code = reader.int16()
      const name = reader.compactText()
      const id = reader.bytes(16).toString("hex")
      if (code === 0) ids.set(name, id)
      reader.int8()
      reader.compactList(() => {
        reader.bytes(14) // error, partition, leader, its epoch
        for (let lists = 0; lists < 3; lists++) reader.compactList(() => reader.int32())
        reader.skipTags()
      })
      reader.int32()
      reader.skipTags()
    })
    return { ids }
  })
}

const varint = (value: number): ReadonlyArray<number> =>
  value < 128 ? [value] : [(value & 0x7f) | 0x80, ...varint(Math.floor(value / 128))]

/** Bytes on the broker's disks by `topic/partition`, of the replicas that it has. */
export const logSizes = (
  broker: Broker,
  topics: ReadonlyArray<{ readonly topic: string; readonly partitions: ReadonlyArray<number> }>
): Promise<{ readonly sizes: ReadonlyMap<string, number> }> => {
  const body: Array<Uint8Array> = [int32(topics.length)]
  for (const { topic, partitions } of topics) {
    body.push(...text(topic), int32(partitions.length), ...partitions.map(int32))
  }
  return send(broker, { apiKey: 35, apiVersion: 1, apiName: "DescribeLogDirs" }, body, (reader) => {
    const sizes = new Map<string, number>()
    reader.int32()
    reader.list(() => {
      reader.int16()
      reader.text()
      reader.list(() => {
        const topic = reader.text()
        reader.list(() => {
          const partition = reader.int32()
          const key = `${topic}/${partition}`
          sizes.set(key, (sizes.get(key) ?? 0) + reader.int64())
          reader.int64()
          reader.int8()
        })
      })
    })
    return { sizes }
  })
}
