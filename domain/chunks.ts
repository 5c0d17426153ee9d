/**
 * A gateway's message that comes in parts: which parts belong together, when they are whole, and when they never will be.
 *
 * The parts of one (gateway, correlation id) form a group. A group is `open` until its owner claims it `complete` or `failed`;
 * the claim is stored and is final. What a claim asks for is published afterwards, and `emittedAt` says that it was. What
 * comes for a claimed group is a redelivery, or it opens the next generation: a group of its own under the same correlation id.
 *
 * A group depends on its set of chunks, not on their order: any order, with any repetitions, gives the same whole.
 * @module
 */
import { hash } from "node:crypto"
import { Result } from "effect"
import { MAX_PAYLOAD_BYTES } from "./bridge.ts"
import { type ChunkingConfig } from "./device-type.ts"
import { Poison } from "./errors.ts"
import { type Problem } from "./extract.ts"
import { type Instant, type MessageId } from "./ids.ts"
import { compilePath, pathNames, type PathReader } from "./json-path.ts"
import { isMetricKey } from "./storable.ts"
import { uuidV5 } from "./uuid.ts"

/** What one chunk says of itself. */
export interface ChunkHead {
  readonly correlationId: string
  readonly sequence: number // 1..total
  readonly total: number
}

export interface Chunk extends ChunkHead {
  readonly digest: string // {@link digestOf} the payload
  readonly bytes: number // of the payload
  readonly receivedAt: Instant
  /** The dead letter's or job's id in a retry or replay: these chunks are new, though they say what others said. */
  readonly origin?: string
}

export interface CollectedChunk {
  readonly digest: string
  readonly origin?: string
}

export interface ChunkGroup {
  readonly gatewayId: string
  readonly correlationId: string
  readonly generation: number // from 1
  readonly total: number
  readonly state: "open" | "complete" | "failed"
  readonly emittedAt: Instant | null
  readonly startedAt: Instant // received-at of the earliest chunk
  readonly receivedAt: Instant // of the latest chunk: that of the whole
  readonly expiresAt: Instant // partition time
  readonly bytes: number
  readonly chunks: ReadonlyMap<number, CollectedChunk> // by sequence number
}

export interface CompiledChunking {
  readonly config: typeof ChunkingConfig.Type
  readonly readHead: (root: unknown) => Result.Result<ChunkHead, Poison>
  readonly readData: PathReader
  readonly dataNames: ReadonlyArray<string>
}

export interface ChunkLimits {
  readonly openGroups: number // of one gateway
  readonly bytes: number // of all chunks of a group
}
export const chunkLimits: ChunkLimits = { openGroups: 1_000, bytes: MAX_PAYLOAD_BYTES }

/** UTF-16 units of a correlation id. */
export const MAX_CORRELATION_UNITS = 255

export type Collected =
  /** The group with this chunk: store both. `opened`: it is new. `whole`: no number is missing, so it can be claimed. */
  | { readonly _tag: "Collected"; readonly group: ChunkGroup; readonly opened: boolean; readonly whole: boolean }
  /** It is there already: nothing to do. */
  | { readonly _tag: "Redelivered" }
  | { readonly _tag: "Refused"; readonly error: Poison }

/** Tells chunks apart, short enough to keep for every chunk of every open group: 128 bits of SHAKE128 in hex. */
export const digestOf = (payload: Uint8Array): string =>
  hash("shake128", payload, { outputEncoding: "hex", outputLength: 16 })

/** The id of the whole message: the same whoever publishes it, and however often. */
export const wholeMessageId = (gatewayId: string, correlationId: string, generation: number): MessageId =>
  uuidV5(gatewayId, `${correlationId}:${generation}`) as MessageId

const extractionFailed = (path: string, what: string, why: string): Result.Result<never, Poison> =>
  Result.fail(
    new Poison({ reason: "ExtractionFailed", message: `The chunk's ${what} is expected at ${path}, but ${why}.`, path })
  )

const contradiction = (message: string, path?: string): Poison =>
  new Poison({ reason: "ChunkContradiction", message, ...(path !== undefined && { path }) })

const wholeNumber = (value: unknown): number | undefined => {
  const number = typeof value === "string" && /^\d{1,9}$/.test(value) ? Number(value) : value
  return typeof number === "number" && Number.isSafeInteger(number) ? number : undefined
}

/** Compiles how chunks describe themselves; what is wrong with it is added to `problems`. */
export const compileChunking = (config: typeof ChunkingConfig.Type, problems: Array<Problem>): CompiledChunking => {
  const { correlationIdPath, dataPath, maxTotal, sequencePath, totalPath } = config
  const reader = (field: string, path: string): PathReader => {
    const compiled = compilePath(path)
    if (Result.isSuccess(compiled)) return compiled.success.read
    problems.push({ path: `$.chunkingConfig.${field}`, message: compiled.failure })
    return () => undefined
  }
  const readCorrelation = reader("correlationIdPath", correlationIdPath)
  const readSequence = reader("sequencePath", sequencePath)
  const readTotal = reader("totalPath", totalPath)
  const readData = reader("dataPath", dataPath)
  const dataNames = pathNames(dataPath)
  if (dataNames === undefined) {
    problems.push({ path: "$.chunkingConfig.dataPath", message: "It must name one place: no .., * or slices." })
  }
  for (const field of ["maxTotal", "timeoutSeconds"] as const) {
    if (config[field] < 1) problems.push({ path: `$.chunkingConfig.${field}`, message: "It must be at least 1." })
  }
  const readHead: CompiledChunking["readHead"] = (root) => {
    const sent = readCorrelation(root)
    const correlationId = typeof sent === "number" && Number.isSafeInteger(sent) ? String(sent) : sent
    if (
      typeof correlationId !== "string" ||
      correlationId.length > MAX_CORRELATION_UNITS ||
      !isMetricKey(correlationId)
    ) {
      const why = `there is no text of up to ${MAX_CORRELATION_UNITS} characters and no whole number`
      return extractionFailed(correlationIdPath, "correlation id", why)
    }
    const total = wholeNumber(readTotal(root))
    if (total === undefined) return extractionFailed(totalPath, "total", "there is no whole number")
    const sequence = wholeNumber(readSequence(root))
    if (sequence === undefined) return extractionFailed(sequencePath, "sequence number", "there is no whole number")
    if (total < 1 || total > maxTotal) {
      const why = `"${correlationId}" has a total of ${total} chunks; 1 to ${maxTotal} are allowed.`
      return Result.fail(contradiction(why, totalPath))
    }
    if (sequence < 1 || sequence > total) {
      const why = `Chunk ${sequence} of "${correlationId}" is none of 1 to ${total}.`
      return Result.fail(contradiction(why, sequencePath))
    }
    return Result.succeed({ correlationId, sequence, total })
  }
  return { config, readHead, readData, dataNames: dataNames ?? [] }
}

const opened = (
  gatewayId: string,
  generation: number,
  { bytes, correlationId, receivedAt, total }: Chunk,
  expiresAt: Instant
): ChunkGroup => ({
  gatewayId,
  correlationId,
  generation,
  total,
  state: "open",
  emittedAt: null,
  startedAt: receivedAt,
  receivedAt,
  expiresAt,
  bytes,
  chunks: new Map()
})

const withChunk = (group: ChunkGroup, chunk: Chunk, expiresAt: Instant, bytes: number): ChunkGroup => {
  const { digest, origin, receivedAt, sequence } = chunk
  return {
    ...group,
    bytes,
    startedAt: Math.min(group.startedAt, receivedAt),
    receivedAt: Math.max(group.receivedAt, receivedAt),
    expiresAt: Math.min(group.expiresAt, expiresAt),
    chunks: new Map(group.chunks).set(sequence, origin === undefined ? { digest } : { digest, origin })
  }
}

/** Where a chunk is collected: what is known of its correlation id, and how far its partition has come. */
export interface Collecting {
  readonly gatewayId: string
  /** Of the highest generation, undefined when there is none. */
  readonly latest: ChunkGroup | undefined
  readonly openGroups: number // of this gateway
  readonly partitionTime: Instant
  readonly timeoutSeconds: number
}

const refused = (error: Poison): Collected => ({ _tag: "Refused", error })

/**
 * What a chunk comes to. A group waits `timeoutSeconds` from its first chunk's received-at, and where that was long ago, in a
 * retry or replay, from the partition's time.
 */
export const collectChunk = (
  { gatewayId, latest, openGroups, partitionTime, timeoutSeconds }: Collecting,
  chunk: Chunk,
  limits: ChunkLimits = chunkLimits
): Collected => {
  const { bytes, correlationId, digest, origin, sequence, total } = chunk
  const present = latest?.chunks.get(sequence)
  if (present?.digest === digest && (origin === undefined || origin === present.origin)) return { _tag: "Redelivered" }
  const open = latest?.state === "open" ? latest : undefined
  if (open !== undefined) {
    if (present !== undefined) {
      if (present.digest === digest) return { _tag: "Redelivered" }
      const why = `Chunk ${sequence} of "${correlationId}" came twice with different data.`
      return refused(contradiction(why))
    }
    if (open.total !== total) {
      const why = `Chunk ${sequence} of "${correlationId}" says ${total} chunks in all; those before it said ${open.total}.`
      return refused(contradiction(why))
    }
  } else if (openGroups >= limits.openGroups) {
    const message = `The gateway has ${openGroups} unfinished messages, as many as may wait. Send one to its end first.`
    return refused(new Poison({ reason: "ChunkLimitReached", message, limit: limits.openGroups }))
  }
  const together = (open?.bytes ?? 0) + bytes
  if (together > limits.bytes) {
    const message = `The chunks of "${correlationId}" take more than ${limits.bytes} bytes. Send less in one message.`
    return refused(new Poison({ reason: "PayloadTooLarge", message, limit: limits.bytes }))
  }
  const from = origin === undefined ? chunk.receivedAt : Math.max(chunk.receivedAt, partitionTime)
  const expiresAt = from + timeoutSeconds * 1_000_000
  const group = withChunk(
    open ?? opened(gatewayId, (latest?.generation ?? 0) + 1, chunk, expiresAt),
    chunk,
    expiresAt,
    together
  )
  return { _tag: "Collected", group, opened: open === undefined, whole: group.chunks.size === total }
}

/** The sequence numbers that have not come, ascending. */
export const missingOf = ({ chunks, total }: Pick<ChunkGroup, "chunks" | "total">): ReadonlyArray<number> => {
  const missing: Array<number> = []
  for (let sequence = 1; sequence <= total; sequence++) if (!chunks.has(sequence)) missing.push(sequence)
  return missing
}

/** What an open group is claimed as: `complete` when nothing is missing, `failed` when its time is over, else nothing yet. */
export const claimOf = (group: ChunkGroup, partitionTime: Instant): "complete" | "failed" | undefined => {
  if (group.state !== "open") return undefined
  if (group.chunks.size === group.total) return "complete"
  return group.expiresAt <= partitionTime ? "failed" : undefined
}

/** The group once claimed. A claim is final: a group that has one keeps it. */
export const claimed = (group: ChunkGroup, claim: "complete" | "failed"): ChunkGroup =>
  group.state === "open" ? { ...group, state: claim } : group

/** The group once its whole, or its dead letters, are published. The first time counts. */
export const emitted = (group: ChunkGroup, at: Instant): ChunkGroup =>
  group.state === "open" || group.emittedAt !== null ? group : { ...group, emittedAt: at }

/** Claimed, but what the claim asks for may not be published yet: after a crash it is done again, under the same ids. */
export const isUnemitted = (group: ChunkGroup): boolean => group.state !== "open" && group.emittedAt === null

export interface Expired {
  readonly group: ChunkGroup // claimed as failed
  readonly missing: ReadonlyArray<number>
  readonly error: Poison // for each of its chunks
}

const MAX_LISTED = 50

/** Why a group has failed: for its transaction, and for each of its chunks. */
export const timedOut = (group: ChunkGroup): Poison => {
  const missing = missingOf(group)
  const listed = missing.slice(0, MAX_LISTED).join(", ") + (missing.length > MAX_LISTED ? ", …" : "")
  const message = `${missing.length} of ${group.total} chunks of "${group.correlationId}" did not come in time: ${listed}. Send them all again, or retry these once the others are there.`
  return new Poison({ reason: "ChunkTimeout", message })
}

/** The open groups whose time is over, in order of their deadlines. */
export const findExpired = (groups: Iterable<ChunkGroup>, partitionTime: Instant): ReadonlyArray<Expired> => {
  const expired: Array<Expired> = []
  for (const group of groups) {
    if (claimOf(group, partitionTime) !== "failed") continue
    expired.push({ group: claimed(group, "failed"), missing: missingOf(group), error: timedOut(group) })
  }
  return expired.toSorted((left, right) => left.group.expiresAt - right.group.expiresAt)
}
