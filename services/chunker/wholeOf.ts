/**
 * What a claimed group has to tell: its whole, or its chunks as dead letters.
 * @module
 */
import { type ChunkGroup, timedOut } from "@argusiq/domain/chunks.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import { reassemble } from "@argusiq/domain/reassemble.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { type DeviceTypeVersions } from "@argusiq/layers/profiles/Profiles.ts"
import { compiledVersion, stampOf } from "@argusiq/layers/profiles/stampedVersions.ts"
import { idOf, type KeptChunk } from "@argusiq/layers/telemetry/Chunks.ts"
import { Result } from "effect"

type Headers = BusRecord["headers"]

/** The instant that decides which configuration applies to a chunk. */
const configuredAt = ({ receivedAt, record: { headers } }: KeptChunk): number =>
  Number(headers["config-at"] ?? receivedAt)

/** The chunk that stands for all: the whole is received with its latest chunk, so that one's configuration applies to it. */
const lastOf = (chunks: ReadonlyArray<KeptChunk>): KeptChunk =>
  chunks.reduce((last, chunk) => (configuredAt(chunk) >= configuredAt(last) ? chunk : last))

/** The last chunk's, without what says that this chunk is retried: the whole is a message of its own. */
const wholeHeaders = (group: ChunkGroup, chunks: ReadonlyArray<KeptChunk>): Headers => {
  const kept = Object.entries(lastOf(chunks).record.headers).filter(
    ([name]) => !name.startsWith("dlq-") && !name.startsWith("retry-")
  )
  const headers: Record<string, string> = Object.fromEntries(kept)
  // what is partly live is live
  if (chunks.some(({ record }) => record.headers["replay-job"] === undefined)) {
    delete headers["replay-job"]
    delete headers["side-effects"]
  }
  headers["message-id"] = idOf(group)
  headers["received-at"] = String(group.receivedAt)
  return headers
}

/** Poison: why each of the chunks is a dead letter. Pure: a group has the same whole whenever it is published. */
export const wholeOf = (
  group: ChunkGroup,
  chunks: ReadonlyArray<KeptChunk>,
  types: ReadonlyMap<string, DeviceTypeVersions>
): Result.Result<BusRecord, Poison> => {
  if (group.state === "failed") return Result.fail(timedOut(group))
  if (chunks.length !== group.total) {
    const message = `Only ${chunks.length} of the ${group.total} chunks of "${group.correlationId}" are still stored`
    return Result.fail(new Poison({ reason: "ChunkContradiction", message }))
  }
  const version = compiledVersion(stampOf(lastOf(chunks).record), types)
  if (Result.isFailure(version)) return Result.fail(version.failure)
  const { chunking } = version.success
  if (chunking === undefined) {
    const message = `The device type of "${group.correlationId}" has no chunked messages any more`
    return Result.fail(new Poison({ reason: "UnknownProcessingMode", message }))
  }
  const whole = reassemble(
    chunking,
    chunks.map(({ record }) => record.value)
  )
  return Result.map(whole, (value) => ({
    topic: Topics.gateway,
    key: group.gatewayId,
    value,
    headers: wholeHeaders(group, chunks)
  }))
}
