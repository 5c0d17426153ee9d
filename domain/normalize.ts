/**
 * The normalizer's work on one message: from its bytes to the readings that are stored.
 * @module
 */
import { hash } from "node:crypto"
import { Result } from "effect"
import { type CompiledDeviceType } from "./compiled-device-type.ts"
import { Poison } from "./errors.ts"
import { type Evaluate } from "./expression/expression.ts"
import { evaluateHere } from "./expression/memo.ts"
import { Extracted } from "./extract.ts"
import { type Instant } from "./ids.ts"
import { type NormalizedMessage, type Reading } from "./readings.ts"
import { jsonBytes } from "./record-json.ts"
import { type AliasTable, type Decoded } from "./protocol/decoder.ts"
import { type StructureLimits, structureLimits } from "./scan.ts"
import { storableJson, type StorableJson } from "./storable.ts"
import { parseTimestamp } from "./timestamp.ts"
import { readingIdOf } from "./uuid.ts"

/** A reading holds at most so many metrics; what exceeds them goes to further readings. */
export const MAX_METRICS_PER_READING = 256
/** Leaves room for key and headers within the 16 MiB of a record. */
const MAX_ENCODED_BYTES = 15 * 1_048_576
/** Whatever a device type allows: a reading further ahead of its received-at than this never counts as the latest. */
const LATEST_AHEAD_MICROS = 60_000_000

/** A device's own message with the configuration that applies to it. Ids are those of the record's headers, trusted. */
export interface EndpointMessage {
  readonly compiled: CompiledDeviceType
  readonly typeVersion: number
  readonly deviceTypeId: string
  readonly messageId: string
  readonly tenantId: string
  readonly deviceId: string
  readonly receivedAt: Instant
  readonly contentType: string // what the device said of the payload; the adapter is chosen by the device type
  readonly payload: Uint8Array
  readonly aliases?: AliasTable // of a stateful adapter: what the device's payload before left
  readonly evaluate?: Evaluate // absent: only what runs in process
}

export interface Normalized {
  readonly message: NormalizedMessage
  readonly aliases?: AliasTable // of a stateful adapter: for the device's next payload
  readonly skipped: number // metrics that were absent, of the wrong type or not storable
}

export interface Measured {
  readonly ts: Instant
  readonly clock: Reading["clock"]
  readonly uncertain: boolean
}

/** An instant that the device sent, judged by how far it may be from received-at. */
export const judgeClock = (
  { maxAheadSeconds, maxBehindSeconds }: CompiledDeviceType["config"]["timestamp"],
  ts: Instant,
  receivedAt: Instant
): Measured => {
  const ahead = ts - receivedAt
  const clock = ahead > maxAheadSeconds * 1e6 ? "ahead" : -ahead > maxBehindSeconds * 1e6 ? "behind" : undefined
  return { ts, clock, uncertain: clock !== undefined }
}

/** The instant of a message: what the device says, or received-at where it says nothing (good) or nothing readable (uncertain). */
const measuredAt = ({ config, timestampReaders }: CompiledDeviceType, root: unknown, receivedAt: Instant): Measured => {
  let sent: unknown
  for (const read of timestampReaders) {
    sent = read(root)
    if (sent !== undefined) break
  }
  if (sent === undefined) return { ts: receivedAt, clock: undefined, uncertain: false }
  const ts = parseTimestamp(sent, config.timestamp.format)
  if (ts === undefined) return { ts: receivedAt, clock: undefined, uncertain: true }
  return judgeClock(config.timestamp, ts, receivedAt)
}

export const metadataOf = (root: unknown): Reading["metadata"] => {
  if (typeof root !== "object" || root === null || !Object.hasOwn(root, "metadata")) return undefined
  const metadata: unknown = Reflect.get(root, "metadata")
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) return undefined
  return storableJson(metadata) as { readonly [key: string]: StorableJson }
}

/** At most 256 metrics each, in their order, with the quality of their own. */
const parts = (extracted: Extracted): ReadonlyArray<Pick<Extracted, "metrics" | "quality">> => {
  const keys = Object.keys(extracted.metrics)
  if (keys.length <= MAX_METRICS_PER_READING) return [extracted]
  const split: Array<Extracted> = []
  for (let from = 0; from < keys.length; from += MAX_METRICS_PER_READING) {
    const part = new Extracted()
    for (const key of keys.slice(from, from + MAX_METRICS_PER_READING)) {
      part.put(key, extracted.metrics[key]!, extracted.qualityOf(key))
    }
    split.push(part)
  }
  return split
}

const isEmpty = (record: object): boolean => {
  for (const _ in record) return false
  return true
}

/** Whose metrics they are and when they were measured: all of a reading but its own metrics and id. */
export type ReadingOrigin = Omit<Reading, "readingId" | "metrics" | "quality">

/**
 * What was extracted from one entry as readings of at most 256 metrics each, under ids derived from the entry.
 * @param digest SHA-256 of the entry's payload, lower-case hex
 * @param index place of the entry in the device's message, 0 for an endpoint
 */
export const readingsOf = (
  extracted: Extracted,
  origin: ReadingOrigin,
  digest: string,
  index: number
): ReadonlyArray<Reading> =>
  parts(extracted).map(({ metrics, quality }, part) => ({
    readingId: readingIdOf(origin.deviceId, origin.ts, digest, index, part),
    ...origin,
    metrics,
    ...(!isEmpty(quality) && { quality })
  }))

/**
 * Opens a payload of any mode: decoded by its type's adapter, and checked against its schema.
 * @param limits those of a gateway's message are wider
 */
export const openPayload = (
  compiled: CompiledDeviceType,
  payload: Uint8Array,
  limits: StructureLimits = structureLimits,
  aliases?: AliasTable
): Result.Result<Decoded, Poison> => {
  const decoded = compiled.decoder.decode(payload, limits, aliases)
  if (Result.isFailure(decoded)) return decoded
  const mismatch = compiled.checkSchema?.(decoded.success.root, payload.byteLength)
  return mismatch === undefined ? decoded : Result.fail(mismatch)
}

/**
 * The readings of an endpoint's message, or why it can have none. Pure: the same bytes, received-at and configuration give
 * the same readings with the same ids. A message without a single metric gives one reading without metrics.
 */
export const normalizeEndpoint = (input: EndpointMessage): Result.Result<Normalized, Poison> => {
  const { compiled, deviceId, payload, receivedAt } = input
  const opened = openPayload(compiled, payload, structureLimits, input.aliases)
  if (Result.isFailure(opened)) return Result.fail(opened.failure)
  const { aliases, root } = opened.success
  const extracted = new Extracted()
  const failure = compiled.extract(root, extracted)
  if (failure !== undefined) return Result.fail(failure)
  const untransformed = compiled.transform?.(extracted, input.evaluate ?? evaluateHere)
  if (untransformed !== undefined) return Result.fail(untransformed)
  const { clock, ts, uncertain } = measuredAt(compiled, root, receivedAt)
  if (uncertain) extracted.doubt()
  const metadata = metadataOf(root)
  const digest = hash("sha256", payload, "hex")
  const origin: ReadingOrigin = {
    deviceId: deviceId as Reading["deviceId"],
    ts,
    ...(clock !== undefined && { clock }),
    deviceTypeId: input.deviceTypeId as Reading["deviceTypeId"],
    typeVersion: input.typeVersion,
    ...(metadata !== undefined && { metadata })
  }
  const readings = readingsOf(extracted, origin, digest, 0)
  const message: NormalizedMessage = {
    messageId: input.messageId as NormalizedMessage["messageId"],
    tenantId: input.tenantId as NormalizedMessage["tenantId"],
    deviceId: deviceId as NormalizedMessage["deviceId"],
    receivedAt,
    readings
  }
  return Result.succeed({ message, skipped: extracted.skipped, ...(aliases !== undefined && { aliases }) })
}

/** The value of a record of the normalized topic, or `RecordTooLarge`: rules can take a value often, and so enlarge it. */
export const encodeNormalized = (message: NormalizedMessage): Result.Result<Uint8Array, Poison> => {
  try {
    const value = jsonBytes(message)
    if (value.byteLength <= MAX_ENCODED_BYTES) return Result.succeed(value)
  } catch {
    // a text longer than a string can be
  }
  return Result.fail(
    new Poison({
      reason: "RecordTooLarge",
      message: `The readings of the message take more than ${MAX_ENCODED_BYTES} bytes. Extract less of it.`,
      limit: MAX_ENCODED_BYTES
    })
  )
}

/**
 * Whether a reading may become an entity's latest. One whose clock was off does not, nor one over 60 s ahead of its
 * received-at; both are stored all the same.
 */
export const movesLatest = (reading: Pick<Reading, "clock" | "ts">, receivedAt: Instant): boolean =>
  reading.clock === undefined && reading.ts - receivedAt <= LATEST_AHEAD_MICROS
