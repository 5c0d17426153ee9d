/**
 * Spans of sampled messages, one per stage, connected across services by the header `traceparent`. Where tracing is off there
 * is no `MessageTracing`, and nobody looks at a record for its sake.
 * @module
 */
import { formatTraceparent, isSampled, parseTraceparent } from "@argusiq/domain/traceparent.ts"
import { Cause, Context, Exit, Option, Tracer } from "effect"
import { type BusRecord, type StoredRecord } from "../bus/Bus.ts"

/** Traces that this process may record in a second, whoever asks for them by a header. */
const MOST_PER_SECOND = 200

/** A sampled message at its stage. */
export interface TracedMessage {
  /** For those who take it up from here. */
  readonly traceparent: string
  end(exit: Exit.Exit<unknown, unknown>): void
}

/** The sampled ones of a batch. */
export interface TracedBatch {
  /** By the record's key: for what follows from it elsewhere than on the bus. */
  readonly traceparents: ReadonlyMap<string, string>
  /** What is published of it goes on from this stage. */
  readonly goOn: (records: ReadonlyArray<BusRecord>) => ReadonlyArray<BusRecord>
  readonly end: (exit: Exit.Exit<unknown, unknown>) => void
}

const nanos = () => BigInt(Date.now()) * 1_000_000n
const parentOf = (traceparent: string) => {
  const parent = parseTraceparent(traceparent)
  return parent === undefined ? Option.none() : Option.some(Tracer.externalSpan(parent))
}

export class MessageTracing {
  readonly #tracer: Tracer.Tracer
  readonly #ratio: number
  #second = 0
  #begun = 0

  /** @param ratio of the messages that came without a traceparent: how many are sampled, 0 to 1 */
  constructor(tracer: Tracer.Tracer, ratio: number) {
    this.#tracer = tracer
    this.#ratio = ratio
  }

  #mayBegin(): boolean {
    const second = Math.floor(Date.now() / 1_000)
    if (second !== this.#second) {
      this.#second = second
      this.#begun = 0
    }
    return this.#begun++ < MOST_PER_SECOND
  }

  #span(
    name: string,
    kind: Tracer.SpanKind,
    parent: Option.Option<Tracer.AnySpan>,
    links: Array<Tracer.SpanLink> = []
  ) {
    return this.#tracer.span({
      name,
      kind,
      parent,
      annotations: Context.empty(),
      links,
      startTime: nanos(),
      root: Option.isNone(parent),
      sampled: true
    })
  }

  /** Of a message at the door: sampled where its sender asked for it or, when it said nothing, by chance. */
  arrive(given: string | undefined, attributes: Readonly<Record<string, string>>): TracedMessage | undefined {
    if (given === undefined ? Math.random() >= this.#ratio : !isSampled(given)) return undefined
    if (!this.#mayBegin()) return undefined
    const span = this.#span("bridge receive", "producer", given === undefined ? Option.none() : parentOf(given))
    for (const [name, value] of Object.entries(attributes)) span.attribute(name, value)
    return { traceparent: formatTraceparent(span), end: (exit) => span.end(nanos(), exit) }
  }

  /** Of what a consumer group takes; undefined: none is sampled. */
  begin(service: string, group: string, records: ReadonlyArray<StoredRecord>): TracedBatch | undefined {
    const sampled = records.filter(({ headers }) => isSampled(headers["traceparent"]))
    if (sampled.length === 0) return undefined
    const spans: Array<Tracer.Span> = []
    const next = new Map<string, string>()
    const traceparents = new Map<string, string>()
    for (const { headers, key, offset, partition, topic } of sampled) {
      const given = headers["traceparent"]!
      const parent = parentOf(given)
      if (Option.isNone(parent) || (!next.has(given) && !this.#mayBegin())) continue
      const span = this.#span(`${service} process`, "consumer", parent)
      span.attribute("argusiq.service", service)
      span.attribute("messaging.system", "argusiq")
      span.attribute("messaging.operation.type", "process")
      span.attribute("messaging.consumer.group.name", group)
      span.attribute("messaging.destination.name", topic)
      span.attribute("messaging.destination.partition.id", String(partition))
      span.attribute("messaging.offset", String(offset))
      span.attribute("messaging.batch.message_count", records.length)
      for (const [attribute, header] of attributesOfHeaders) {
        const value = headers[header]
        if (value !== undefined) span.attribute(attribute, value)
      }
      const traceparent = formatTraceparent(span)
      next.set(given, traceparent)
      traceparents.set(key, traceparent)
      spans.push(span)
    }
    if (spans.length === 0) return undefined
    return {
      traceparents,
      goOn: (published) =>
        published.map((record) => {
          const traceparent = next.get(record.headers["traceparent"] ?? "")
          return traceparent === undefined ? record : { ...record, headers: { ...record.headers, traceparent } }
        }),
      end: (exit) => {
        const at = nanos()
        for (const span of spans) span.end(at, exit)
      }
    }
  }
}

const attributesOfHeaders = [
  ["argusiq.message.id", "message-id"],
  ["argusiq.organization.id", "tenant-id"],
  ["argusiq.device.id", "device-id"],
  ["argusiq.replay.job", "replay-job"],
  ["argusiq.retry.of", "retry-of"]
] as const

/** An exit for a span whose work was refused: the trace shows an error with that message. */
export const refused = (message: string): Exit.Exit<never, Error> => Exit.failCause(Cause.fail(new Error(message)))

/** Undefined: tracing is off. */
export const CurrentMessageTracing = Context.Reference<MessageTracing | undefined>(
  "argusiq/layers/tracing/CurrentMessageTracing",
  { defaultValue: () => undefined }
)

/** Of the batch that the fiber is processing, by the key of the record: what it writes elsewhere than on the bus goes on by it. */
export const CurrentTraceparents = Context.Reference<ReadonlyMap<string, string> | undefined>(
  "argusiq/layers/tracing/CurrentTraceparents",
  { defaultValue: () => undefined }
)
