/**
 * The whole pipeline on one payload, without a bus, a database or a device: decode, put together, split, extract.
 * @module
 */
import { Result } from "effect"
import { collectChunk, type Chunk, type ChunkGroup, digestOf } from "./chunks.ts"
import { type CompiledDeviceType } from "./compiled-device-type.ts"
import { childDeviceId, demultiplex, type FailedEntry, gatewayLimits, resolveChildren } from "./demultiplex.ts"
import { Poison } from "./errors.ts"
import { type Evaluate } from "./expression/expression.ts"
import { evaluateHere } from "./expression/memo.ts"
import { Extracted } from "./extract.ts"
import { type DeviceId, type DeviceTypeId, type Instant } from "./ids.ts"
import { normalizeEndpoint, openPayload } from "./normalize.ts"
import { normalizeEntries } from "./normalize-entries.ts"
import { type AliasTable } from "./protocol/decoder.ts"
import { type LogicalDevices, type Reading } from "./readings.ts"
import { reassemble } from "./reassemble.ts"
import { portDevices, splitPorts } from "./rtu.ts"
import { structureLimits } from "./scan.ts"

const nobody = "00000000-0000-0000-0000-000000000000"
const noType = nobody as DeviceTypeId
const encoder = new TextEncoder()

/** How a payload is written down where it cannot be sent as it is. */
export const PayloadEncodings = ["json", "text", "hex", "base64"] as const
export type PayloadEncoding = (typeof PayloadEncodings)[number]

const isBytes = (value: unknown, key: "hex" | "base64"): value is Record<typeof key, string> =>
  typeof value === "object" &&
  value !== null &&
  Object.keys(value).length === 1 &&
  typeof Reflect.get(value, key) === "string"

const withoutSpaces = (text: string): string => text.replaceAll(/\s/g, "")

/** The bytes that a payload written as JSON stands for: `{ "hex": "…" }`, `{ "base64": "…" }`, text as UTF-8, else the JSON. */
export const writtenBytes = (payload: unknown): Uint8Array => {
  if (isBytes(payload, "hex")) return Buffer.from(withoutSpaces(payload.hex), "hex")
  if (isBytes(payload, "base64")) return Buffer.from(payload.base64, "base64")
  return encoder.encode(typeof payload === "string" ? payload : JSON.stringify(payload))
}

/** As {@link writtenBytes}; for the adapter `json` a payload is always the JSON that it is. */
export const trialBytes = (compiled: CompiledDeviceType, payload: unknown): Uint8Array =>
  compiled.config.protocolAdapter === "json" ? encoder.encode(JSON.stringify(payload)) : writtenBytes(payload)

/** The bytes of a payload in an encoding that was named, undefined when it is not of that encoding. */
export const encodedBytes = (payload: unknown, encoding: PayloadEncoding): Uint8Array | undefined => {
  if (encoding === "json") return encoder.encode(JSON.stringify(payload))
  if (typeof payload !== "string") return undefined
  if (encoding === "text") return encoder.encode(payload)
  const text = withoutSpaces(payload)
  const pattern = encoding === "hex" ? /^(?:[0-9a-f]{2})*$/i : /^[A-Za-z0-9+/_-]*={0,2}$/
  return pattern.test(text) ? Buffer.from(text, encoding) : undefined
}

/** Of a chunked gateway an array is its chunks, of a stateful adapter it is the device's messages in order. */
export const isSequence = (compiled: CompiledDeviceType, payload: unknown): payload is ReadonlyArray<unknown> =>
  Array.isArray(payload) && (compiled.chunking !== undefined || compiled.decoder.stateful)

/** One child's or port's part of a message; of an endpoint the whole message is its only entry. */
export interface TrialEntry {
  readonly index: number
  readonly identifier: string | undefined // of a gateway's child
  readonly port: string | undefined
  readonly payload: unknown
  readonly extracted: Pick<Extracted, "metrics" | "quality" | "skipped"> | undefined // before transformations; undefined: it fails
}
/** What would be a dead letter. */
export interface TrialFailure {
  readonly message: number // which of the messages tried, from 0
  readonly entry: number | undefined // undefined: the whole message
  readonly error: Poison
}
export interface TrialReading {
  readonly identifier: string | undefined
  readonly reading: Reading
}
/** What each step made of the messages. */
export interface TrialRun {
  readonly documents: ReadonlyArray<unknown> // of each message that could be decoded
  readonly whole: unknown // what chunks came to; undefined: no chunks, or not all
  readonly entries: ReadonlyArray<TrialEntry>
  readonly readings: ReadonlyArray<TrialReading>
  readonly failures: ReadonlyArray<TrialFailure>
  readonly skipped: number
}

class Run {
  readonly documents: Array<unknown> = []
  whole: unknown = undefined
  readonly entries: Array<TrialEntry> = []
  readonly readings: Array<TrialReading> = []
  readonly failures: Array<TrialFailure> = []
  skipped = 0

  readonly compiled: CompiledDeviceType
  readonly receivedAt: Instant
  readonly childType: CompiledDeviceType | undefined
  readonly evaluate: Evaluate
  constructor(
    compiled: CompiledDeviceType,
    receivedAt: Instant,
    childType: CompiledDeviceType | undefined,
    evaluate: Evaluate
  ) {
    this.compiled = compiled
    this.receivedAt = receivedAt
    this.childType = childType
    this.evaluate = evaluate
  }

  fail(message: number, error: Poison, entry?: number): void {
    this.failures.push({ message, entry, error })
  }

  /** The document of a message, shown also when it is not as the schema says. */
  open(message: number, payload: Uint8Array, aliases?: AliasTable) {
    const { chunking, demultiplexer, portSplitter } = this.compiled
    const isSplit = chunking !== undefined || demultiplexer !== undefined || portSplitter !== undefined
    const limits = isSplit ? gatewayLimits : structureLimits
    const decoded = this.compiled.decoder.decode(payload, limits, aliases)
    if (Result.isSuccess(decoded)) this.documents.push(decoded.success.root)
    const opened = openPayload(this.compiled, payload, limits, aliases)
    if (Result.isSuccess(opened)) return opened.success
    this.fail(message, opened.failure)
    return undefined
  }

  entry(type: CompiledDeviceType | undefined, of: Omit<TrialEntry, "extracted">): void {
    const found = new Extracted()
    const isExtracted = type !== undefined && type.extract(of.payload, found) === undefined
    this.entries.push({ ...of, extracted: isExtracted ? found : undefined })
  }

  /** Returns the aliases that the message leaves. */
  one(message: number, payload: Uint8Array, aliases?: AliasTable): AliasTable | undefined {
    const opened = this.open(message, payload, aliases)
    if (opened === undefined) return aliases
    if (this.compiled.portSplitter === undefined && this.compiled.demultiplexer === undefined) {
      this.endpoint(message, payload, opened.root, aliases)
    } else this.split(message, opened.root)
    return opened.aliases ?? aliases
  }

  endpoint(message: number, payload: Uint8Array, root: unknown, aliases: AliasTable | undefined): void {
    const { compiled, receivedAt } = this
    this.entry(compiled, { index: 0, identifier: undefined, port: undefined, payload: root })
    const normalized = normalizeEndpoint({
      messageId: nobody,
      tenantId: nobody,
      deviceId: nobody,
      receivedAt,
      compiled,
      typeVersion: 0,
      deviceTypeId: nobody,
      contentType: "application/json",
      payload,
      evaluate: this.evaluate,
      ...(aliases !== undefined && { aliases })
    })
    if (Result.isFailure(normalized)) return this.fail(message, normalized.failure)
    this.skipped += normalized.success.skipped
    for (const reading of normalized.success.message.readings) this.readings.push({ identifier: undefined, reading })
  }

  split(message: number, root: unknown): void {
    const { childType, compiled, receivedAt } = this
    const isPorts = compiled.portSplitter !== undefined
    const type = isPorts ? compiled : childType
    const identifiers = new Map<DeviceId, string>()
    const split = this.entriesOf(root, identifiers)
    if (Result.isFailure(split)) return this.fail(message, split.failure)
    for (const { deviceId, index, payload, port } of split.success.value.entries) {
      this.entry(type, { index, identifier: identifiers.get(deviceId), port, payload })
    }
    const unknownType = new Poison({ reason: "UnknownChildDevice", message: "The children have no device type." })
    const normalized = normalizeEntries({
      messageId: nobody,
      tenantId: nobody,
      deviceId: nobody,
      receivedAt,
      value: split.success.value,
      typeOf: () => type ?? unknownType,
      evaluate: this.evaluate
    })
    for (const { error, index } of [...split.success.failed, ...normalized.failed]) this.fail(message, error, index)
    this.skipped += normalized.skipped
    for (const reading of normalized.message.readings) {
      this.readings.push({ identifier: identifiers.get(reading.deviceId), reading })
    }
  }

  entriesOf(
    root: unknown,
    identifiers: Map<DeviceId, string>
  ): Result.Result<{ readonly value: LogicalDevices; readonly failed: ReadonlyArray<FailedEntry> }, Poison> {
    const { demultiplexer, portSplitter } = this.compiled
    const device = { deviceId: nobody as DeviceId, deviceTypeId: noType, typeVersion: 0 }
    if (portSplitter !== undefined) {
      return Result.map(splitPorts(portSplitter, root), (split) => ({
        value: portDevices(split, "", device),
        failed: split.failed
      }))
    }
    return Result.map(demultiplex(demultiplexer!, root), (split) =>
      resolveChildren(split, "", (identifier) => {
        const deviceId = childDeviceId(nobody, nobody, identifier)
        identifiers.set(deviceId, identifier)
        return { ...device, deviceId }
      })
    )
  }

  /** What chunks in any order give together. */
  chunks(messages: ReadonlyArray<Uint8Array>): void {
    const chunking = this.compiled.chunking!
    const parts: Array<Uint8Array> = []
    let group: ChunkGroup | undefined
    let isWhole = false
    for (const [index, payload] of messages.entries()) {
      const opened = this.open(index, payload)
      if (opened === undefined) continue
      const head = chunking.readHead(opened.root)
      if (Result.isFailure(head)) {
        this.fail(index, head.failure)
        continue
      }
      const { receivedAt } = this
      const chunk: Chunk = { ...head.success, digest: digestOf(payload), bytes: payload.byteLength, receivedAt }
      const { timeoutSeconds } = chunking.config
      const where = { gatewayId: nobody, latest: group, openGroups: 0, partitionTime: receivedAt, timeoutSeconds }
      const collected = collectChunk(where, chunk)
      if (collected._tag === "Redelivered") continue
      if (collected._tag === "Refused") {
        this.fail(index, collected.error)
        continue
      }
      group = collected.group
      isWhole ||= collected.whole
      parts[chunk.sequence - 1] = payload
    }
    const last = messages.length - 1
    if (isWhole) return this.assembled(last, reassemble(chunking, parts))
    const found = group?.chunks.size ?? 0
    const message = `${found} of ${group?.total ?? 0} chunks are there: give all of them.`
    this.fail(last, new Poison({ reason: "ChunkTimeout", message }))
  }

  assembled(message: number, whole: Result.Result<Uint8Array, Poison>): void {
    if (Result.isFailure(whole)) return this.fail(message, whole.failure)
    const opened = openPayload(this.compiled, whole.success, gatewayLimits)
    if (Result.isFailure(opened)) return this.fail(message, opened.failure)
    this.whole = opened.success.root
    this.split(message, opened.success.root)
  }
}

/**
 * What a message of a device becomes, or several: the chunks of a chunked gateway, else the device's messages in order. What
 * fails is told beside what does not, as the pipeline would have it.
 * @param sent the bytes as the device sends them; of a chunked gateway one alone is the whole that its chunks come to
 * @param childType of a gateway: what its children's entries are read with
 */
export const runMessages = (
  compiled: CompiledDeviceType,
  sent: Uint8Array | ReadonlyArray<Uint8Array>,
  receivedAt: Instant,
  childType?: CompiledDeviceType,
  evaluate: Evaluate = evaluateHere
): TrialRun => {
  const run = new Run(compiled, receivedAt, childType, evaluate)
  if (sent instanceof Uint8Array) run.one(0, sent)
  else if (sent.length === 0) {
    run.fail(0, new Poison({ reason: "Undecodable", message: "There is no message in the array.", offset: 0 }))
  } else if (compiled.chunking !== undefined) run.chunks(sent)
  else {
    let aliases: AliasTable | undefined
    for (const [index, payload] of sent.entries()) aliases = run.one(index, payload, aliases)
  }
  return run
}
