/**
 * What a record says of itself as a chunk.
 * @module
 */
import { type Chunk, digestOf } from "@argusiq/domain/chunks.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import { openPayload } from "@argusiq/domain/normalize.ts"
import { isUuid, uuidV5 } from "@argusiq/domain/uuid.ts"
import { type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { type DeviceTypeVersions } from "@argusiq/layers/profiles/Profiles.ts"
import { compiledVersion, stampOf } from "@argusiq/layers/profiles/stampedVersions.ts"
import { Result } from "effect"

/** Of a child's entry in a chunk, roughly. */
export const ENTRY_BYTES = 100

export interface ReadChunk {
  readonly record: StoredRecord
  readonly tenantId: string
  readonly gatewayId: string
  readonly chunk: Chunk
  readonly timeoutSeconds: number
}

/**
 * Who sent it again: the dead letter that is retried, or the job that replays. Each retry of a dead letter is one of its own,
 * told by the attempts before it, so that what failed twice can be retried twice.
 */
const originOf = (headers: StoredRecord["headers"]): string | undefined => {
  const { "dlq-attempts": attempts, "replay-job": job, "retry-of": letter } = headers
  const origin = letter ?? job
  if (origin === undefined || !isUuid(origin)) return undefined
  return letter !== undefined && attempts !== undefined ? uuidV5(letter, attempts) : origin
}

export const readChunk = (
  record: StoredRecord,
  types: ReadonlyMap<string, DeviceTypeVersions>
): Result.Result<ReadChunk, Poison> => {
  const { headers, key, value } = record
  const version = compiledVersion(stampOf(record), types)
  if (Result.isFailure(version)) return Result.fail(version.failure)
  const compiled = version.success
  const { chunking } = compiled
  const tenantId = headers["tenant-id"]
  const receivedAt = Number(headers["received-at"])
  if (chunking === undefined) {
    const message = `Version ${headers["type-version"]} of device type ${headers["device-type-id"]} has no chunked messages`
    return Result.fail(new Poison({ reason: "UnknownProcessingMode", message }))
  }
  if (tenantId === undefined || !isUuid(tenantId) || !isUuid(key) || !Number.isSafeInteger(receivedAt)) {
    const message = "The record has no valid key, tenant-id and received-at"
    return Result.fail(new Poison({ reason: "Undecodable", message }))
  }
  const opened = openPayload(compiled, value)
  if (Result.isFailure(opened)) return Result.fail(opened.failure)
  return Result.map(chunking.readHead(opened.success.root), (head): ReadChunk => {
    const origin = originOf(headers)
    const chunk = { ...head, digest: digestOf(value), bytes: value.byteLength, receivedAt }
    return {
      record,
      tenantId,
      gatewayId: key,
      chunk: origin === undefined ? chunk : { ...chunk, origin },
      timeoutSeconds: chunking.config.timeoutSeconds
    }
  })
}
