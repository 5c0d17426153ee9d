/**
 * What the chunks of a batch come to, one after the other, without changing what is known before it is stored.
 * @module
 */
import { type ChunkGroup, claimed, collectChunk } from "@argusiq/domain/chunks.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { type Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { type ChunkRow, idOf, type TenantGroup } from "@argusiq/layers/telemetry/Chunks.ts"
import { type ReadChunk } from "./readChunk.ts"
import { type WaitingGroups } from "./WaitingGroups.ts"

export interface CollectedBatch {
  readonly rows: ReadonlyArray<ChunkRow>
  /** The groups that are another than before, as they are then. */
  readonly groups: ReadonlyArray<TenantGroup>
  /** Those of them that are new, and those that are whole. */
  readonly told: ReadonlyArray<TenantGroup>
  readonly deadLetters: Outcome["deadLetters"]
  readonly redelivered: number
}

/** Of one message, whatever its generation. A device's id has no blank. */
export const messageKey = ({ correlationId, gatewayId }: Pick<ChunkGroup, "gatewayId" | "correlationId">) =>
  `${gatewayId} ${correlationId}`

/**
 * Where the partition's time is beyond all that its batch tells, the log is read again from an earlier place: the time does not
 * go back with it. A group that would be over at once waits from that time on, as in a retry.
 */
const timeoutFrom = (
  { chunk: { receivedAt }, timeoutSeconds }: ReadChunk,
  partitionTime: Instant,
  latest: Instant
): number => {
  const behind = (partitionTime - receivedAt) / 1_000_000
  return latest < partitionTime && behind > timeoutSeconds ? timeoutSeconds + Math.ceil(behind) : timeoutSeconds
}

/** @param stored the latest groups of the messages that have no open one, by {@link messageKey} */
export const collectBatch = (
  chunks: ReadonlyArray<ReadChunk>,
  waiting: WaitingGroups,
  stored: ReadonlyMap<string, ChunkGroup>,
  partitionTime: Instant
): CollectedBatch => {
  const rows: Array<ChunkRow> = []
  const deadLetters: Array<Outcome["deadLetters"][number]> = []
  const latest = new Map<string, ChunkGroup>()
  const changed = new Map<string, TenantGroup>()
  const told = new Set<string>()
  const opened = new Map<string, number>()
  const latestReceived = chunks.reduce((last, { chunk }) => Math.max(last, chunk.receivedAt), 0)
  let redelivered = 0
  for (const read of chunks) {
    const { chunk, gatewayId, record, tenantId } = read
    const { correlationId } = chunk
    const key = messageKey({ correlationId, gatewayId })
    const collected = collectChunk(
      {
        gatewayId,
        latest: latest.get(key) ?? waiting.open(gatewayId, correlationId) ?? stored.get(key),
        openGroups: waiting.openOf(gatewayId) + (opened.get(gatewayId) ?? 0),
        partitionTime,
        timeoutSeconds: timeoutFrom(read, partitionTime, latestReceived)
      },
      chunk
    )
    if (collected._tag === "Redelivered") {
      redelivered++
      continue
    }
    if (collected._tag === "Refused") {
      deadLetters.push({ record, error: collected.error })
      continue
    }
    const group = collected.whole ? claimed(collected.group, "complete") : collected.group
    const id = idOf(group)
    latest.set(key, group)
    changed.set(id, { group, tenantId })
    if (collected.opened || collected.whole) told.add(id)
    const more = (collected.opened ? 1 : 0) - (collected.whole ? 1 : 0)
    opened.set(gatewayId, (opened.get(gatewayId) ?? 0) + more)
    const { digest, origin, receivedAt, sequence, total } = chunk
    const { expiresAt, generation } = group
    const head = { correlationId, sequence, total, generation }
    rows.push({ ...head, tenantId, gatewayId, digest, origin, receivedAt, expiresAt, record })
  }
  return {
    rows,
    groups: [...changed.values()],
    told: [...told].map((id) => changed.get(id)!),
    deadLetters,
    redelivered
  }
}
