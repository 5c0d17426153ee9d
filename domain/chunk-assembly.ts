/**
 * Chunks as they were received, put together again: what the chunker did over time, done in one go over the audit copy.
 * @module
 */
import { Result } from "effect"
import { type Chunk, type ChunkGroup, claimed, collectChunk, type CompiledChunking, digestOf } from "./chunks.ts"
import { type CompiledDeviceType } from "./compiled-device-type.ts"
import { type Poison } from "./errors.ts"
import { type Instant } from "./ids.ts"
import { reassemble } from "./reassemble.ts"
import { structureLimits } from "./scan.ts"

/** A message of which all chunks have come. */
export interface Whole {
  readonly correlationId: string
  /** Counted within what the assembly has seen: the transaction's own number may be higher. */
  readonly generation: number
  readonly startedAt: Instant // received-at of the earliest chunk
  readonly receivedAt: Instant // of the latest chunk
  readonly payload: Uint8Array
}

/** A group that should have expired may still have been completed until the chunker looked for expired ones. */
export const EXPIRY_EVERY_SECONDS = 30

interface Collecting {
  readonly group: ChunkGroup
  readonly payloads: ReadonlyMap<number, Uint8Array>
}

/** The chunks of one gateway, in the order of received-at. Keeps what is not whole yet, and forgets what no chunk can belong to. */
export class ChunkAssembly {
  readonly #gatewayId: string
  readonly #latest = new Map<string, Collecting>()

  constructor(gatewayId: string) {
    this.#gatewayId = gatewayId
  }

  /** The whole that this chunk completes; undefined while others are missing, and for one that is there already. */
  add(
    compiled: CompiledDeviceType & { readonly chunking: CompiledChunking },
    payload: Uint8Array,
    receivedAt: Instant
  ): Result.Result<Whole | undefined, Poison> {
    const { chunking, decoder } = compiled
    const head = Result.flatMap(decoder.decode(payload, structureLimits), ({ root }) => chunking.readHead(root))
    if (Result.isFailure(head)) return Result.fail(head.failure)
    const chunk: Chunk = { ...head.success, digest: digestOf(payload), bytes: payload.byteLength, receivedAt }
    const { correlationId, sequence, total } = chunk
    const partitionTime = receivedAt - EXPIRY_EVERY_SECONDS * 1_000_000
    this.#forgetBefore(partitionTime)
    const before = this.#latest.get(correlationId)
    const collected = collectChunk(
      {
        gatewayId: this.#gatewayId,
        latest: before?.group,
        openGroups: this.#latest.values().reduce((open, { group }) => (group.state === "open" ? open + 1 : open), 0),
        partitionTime,
        timeoutSeconds: chunking.config.timeoutSeconds
      },
      chunk
    )
    if (collected._tag === "Refused") return Result.fail(collected.error)
    if (collected._tag === "Redelivered") return Result.succeed(undefined)
    const { group, opened, whole } = collected
    const payloads = new Map(opened ? [] : before?.payloads).set(sequence, payload)
    if (!whole) {
      this.#latest.set(correlationId, { group, payloads })
      return Result.succeed(undefined)
    }
    this.#latest.set(correlationId, { group: claimed(group, "complete"), payloads: new Map() })
    const inOrder = Array.from({ length: total }, (_, index) => payloads.get(index + 1)!)
    const { generation, startedAt, receivedAt: completedAt } = group
    return Result.map(reassemble(chunking, inOrder), (merged) => ({
      correlationId,
      generation,
      startedAt,
      receivedAt: completedAt,
      payload: merged
    }))
  }

  /** What has expired by then takes no chunk any more. */
  #forgetBefore(partitionTime: Instant): void {
    for (const [correlationId, { group }] of this.#latest) {
      if (group.expiresAt <= partitionTime) this.#latest.delete(correlationId)
    }
  }
}
