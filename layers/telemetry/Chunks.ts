/**
 * Where the chunks of messages wait until they are whole, and what has been decided of them.
 * @module
 */
import { type ChunkGroup, type ChunkHead, wholeMessageId } from "@argusiq/domain/chunks.ts"
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { storableJson } from "@argusiq/domain/storable.ts"
import { uuidV5 } from "@argusiq/domain/uuid.ts"
import { Context, Effect, Layer } from "effect"
import { type StoredRecord, type TopicPartition } from "../bus/Bus.ts"
import { PipelineSql } from "../database/Sql.ts"
import {
  claimStatement,
  emitStatement,
  forgetStatement,
  latestStatement,
  readStatement,
  repeatedStatement,
  storeStatement,
  timeoutEventStatement,
  unfinishedStatement
} from "./chunkStatements.ts"
import { bigintegers, byteStrings, instants, integers, texts, uuids } from "./columns.ts"

export interface TenantGroup {
  readonly tenantId: string
  readonly group: ChunkGroup
}

/** A chunk as it is stored. */
export interface ChunkRow extends ChunkHead {
  readonly tenantId: string
  readonly gatewayId: string
  readonly generation: number
  readonly digest: string
  readonly origin: string | undefined
  readonly receivedAt: Instant
  readonly expiresAt: Instant // partition time
  readonly record: StoredRecord
}

/** A chunk as it was read from the bus. */
export interface KeptChunk {
  readonly sequence: number
  readonly receivedAt: Instant
  readonly record: StoredRecord
}

/** A chunk of a retry or replay. */
export type RepeatedChunk = Pick<ChunkRow, "gatewayId" | "correlationId" | "sequence" | "digest"> & {
  readonly origin: string
}

export interface Timeout extends TenantGroup {
  readonly missing: ReadonlyArray<number>
}

export class Chunks extends Context.Service<
  Chunks,
  {
    /** The groups of a partition, of so many, that are open, or claimed and not yet emitted. */
    unfinished(at: TopicPartition, partitions: number): Effect.Effect<ReadonlyArray<TenantGroup>, DatabaseUnavailable>
    /** Of each of these messages the group of the highest generation, whatever its state; without those that have none. A group
     * whose chunks have been forgotten has none in it. */
    latest(
      messages: ReadonlyArray<Pick<ChunkGroup, "gatewayId" | "correlationId">>
    ): Effect.Effect<ReadonlyArray<TenantGroup>, DatabaseUnavailable>
    /** Of chunks that were sent again by somebody, the places of those that came from the same before. */
    repeated(chunks: ReadonlyArray<RepeatedChunk>): Effect.Effect<ReadonlySet<number>, DatabaseUnavailable>
    /** What is stored already stays. */
    store(chunks: ReadonlyArray<ChunkRow>): Effect.Effect<void, DatabaseUnavailable>
    /** Makes claims final: the transaction that the fiber is in commits durably. Their transactions must have been told of. */
    claim(groups: ReadonlyArray<ChunkGroup>): Effect.Effect<void, DatabaseUnavailable>
    /** The events of groups that failed, under derived ids. */
    tellTimeouts(timeouts: ReadonlyArray<Timeout>): Effect.Effect<void, DatabaseUnavailable>
    /** What the claims ask for is published. */
    emit(groups: ReadonlyArray<ChunkGroup>): Effect.Effect<void, DatabaseUnavailable>
    /** The chunks of each group with their payloads, in the order of their sequence numbers. */
    read(groups: ReadonlyArray<ChunkGroup>): Effect.Effect<ReadonlyArray<ReadonlyArray<KeptChunk>>, DatabaseUnavailable>
    /** Deletes up to so many chunks of a partition's finished groups whose time was over before `before`, in partition time. */
    forget(at: TopicPartition, before: Instant, limit: number): Effect.Effect<void, DatabaseUnavailable>
  }
>()("argusiq/layers/telemetry/Chunks") {
  static readonly layer: Layer.Layer<Chunks, never, PipelineSql> = Layer.effect(
    Chunks,
    Effect.map(PipelineSql, (sql) => {
      const query = <A extends object>(statement: string, parameters: ReadonlyArray<unknown>) =>
        Effect.mapError(sql.unsafe<A>(statement, parameters), (cause) => new DatabaseUnavailable({ cause }))
      const run = (statement: string, parameters: ReadonlyArray<unknown>) => Effect.asVoid(query(statement, parameters))
      return Chunks.of({
        unfinished: ({ partition, topic }, partitions) =>
          Effect.map(query<GroupRow>(unfinishedStatement, [topic, partition, partitions]), (rows) => rows.map(groupOf)),
        latest: (messages) => {
          if (messages.length === 0) return Effect.succeed([])
          const wanted = [
            uuids(messages.map(({ gatewayId }) => gatewayId)),
            texts(messages.map(({ correlationId }) => correlationId))
          ]
          return Effect.map(query<GroupRow>(latestStatement, wanted), (rows) => rows.map(groupOf))
        },
        repeated: (chunks) => {
          if (chunks.length === 0) return Effect.succeed(new Set())
          const sent = [
            uuids(chunks.map(({ gatewayId }) => gatewayId)),
            texts(chunks.map(({ correlationId }) => correlationId)),
            integers(chunks.map(({ sequence }) => sequence)),
            texts(chunks.map(({ digest }) => digest)),
            uuids(chunks.map(({ origin }) => origin))
          ]
          return Effect.map(
            query<{ place: number }>(repeatedStatement, sent),
            (rows) => new Set(rows.map(({ place }) => place - 1))
          )
        },
        store: (chunks) => (chunks.length === 0 ? Effect.void : run(storeStatement, rowParameters(chunks))),
        claim: (groups) => (groups.length === 0 ? Effect.void : run(claimStatement, [ids(groups)])),
        tellTimeouts: (timeouts) =>
          timeouts.length === 0 ? Effect.void : run(timeoutEventStatement, eventParameters(timeouts)),
        emit: (groups) => (groups.length === 0 ? Effect.void : run(emitStatement, [ids(groups)])),
        read: (groups) => {
          const wanted = [
            uuids(groups.map(({ gatewayId }) => gatewayId)),
            texts(groups.map(({ correlationId }) => correlationId)),
            integers(groups.map(({ generation }) => generation))
          ]
          return Effect.map(query<KeptRow>(readStatement, wanted), (rows) => {
            const byPlace = Map.groupBy(rows, ({ place }) => place)
            return groups.map((_, index) => (byPlace.get(index + 1) ?? []).map(keptChunk))
          })
        },
        forget: ({ partition, topic }, before, limit) =>
          run(forgetStatement, [topic, partition, new Date(before / 1000), limit])
      })
    })
  )
}

/** Of the group's transaction, and the message id of its whole. */
export const idOf = ({ correlationId, gatewayId, generation }: ChunkGroup) =>
  wholeMessageId(gatewayId, correlationId, generation)

const ids = (groups: ReadonlyArray<ChunkGroup>) => uuids(groups.map(idOf))

interface GroupRow {
  readonly tenant_id: string
  readonly gateway_id: string
  readonly correlation_id: string
  readonly generation: number
  readonly total: number
  readonly claimed: boolean
  readonly failed: boolean
  readonly emitted_at: bigint | null
  readonly started_at: bigint
  /** These are null where the chunks have been forgotten. */
  readonly received_at: bigint | null
  readonly expires_at: bigint | null
  readonly bytes: bigint | null
  readonly sequences: ReadonlyArray<number> | null
  readonly digests: ReadonlyArray<string> | null
  readonly origins: ReadonlyArray<string | null> | null
}

const groupOf = (row: GroupRow): TenantGroup => {
  const startedAt = Number(row.started_at)
  const chunks = (row.sequences ?? []).map((sequence, index) => {
    const digest = row.digests![index]!
    const origin = row.origins![index]
    return [sequence, origin === null || origin === undefined ? { digest } : { digest, origin }] as const
  })
  return {
    tenantId: row.tenant_id,
    group: {
      gatewayId: row.gateway_id,
      correlationId: row.correlation_id,
      generation: row.generation,
      total: row.total,
      state: row.claimed ? (row.failed ? "failed" : "complete") : "open",
      emittedAt: row.emitted_at === null ? null : Number(row.emitted_at),
      startedAt,
      receivedAt: Number(row.received_at ?? startedAt),
      expiresAt: Number(row.expires_at ?? startedAt),
      bytes: Number(row.bytes ?? 0),
      chunks: new Map(chunks)
    }
  }
}

interface KeptRow {
  readonly place: number
  readonly sequence_number: number
  readonly payload: Uint8Array
  readonly key: string
  readonly headers: Readonly<Record<string, string>>
  readonly topic: string
  readonly partition: number
  readonly offset: bigint
  readonly received_at: bigint
}

const keptChunk = (row: KeptRow): KeptChunk => {
  const { headers, key, offset, partition, payload: value, topic } = row
  const receivedAt = Number(row.received_at)
  return {
    sequence: row.sequence_number,
    receivedAt,
    record: { topic, partition, offset, key, value, headers, appendedAt: receivedAt }
  }
}

const rowParameters = (chunks: ReadonlyArray<ChunkRow>) => [
  uuids(chunks.map(({ tenantId }) => tenantId)),
  uuids(chunks.map(({ gatewayId }) => gatewayId)),
  texts(chunks.map(({ correlationId }) => correlationId)),
  integers(chunks.map(({ generation }) => generation)),
  integers(chunks.map(({ sequence }) => sequence)),
  integers(chunks.map(({ total }) => total)),
  texts(chunks.map(({ digest }) => digest)),
  uuids(chunks.map(({ origin }) => origin ?? null)),
  byteStrings(chunks.map(({ record }) => record.value)),
  texts(chunks.map(({ record }) => record.key)),
  texts(chunks.map(({ record }) => JSON.stringify(storableJson(record.headers)))),
  texts(chunks.map(({ record }) => record.topic)),
  integers(chunks.map(({ record }) => record.partition)),
  bigintegers(chunks.map(({ record }) => record.offset)),
  instants(chunks.map(({ receivedAt }) => receivedAt)),
  instants(chunks.map(({ expiresAt }) => expiresAt))
]

const MAX_LISTED = 50

const eventParameters = (timeouts: ReadonlyArray<Timeout>) => [
  uuids(timeouts.map(({ group }) => uuidV5(idOf(group), "CHUNK_TIMEOUT"))),
  uuids(timeouts.map(({ tenantId }) => tenantId)),
  uuids(timeouts.map(({ group }) => group.gatewayId)),
  instants(timeouts.map(({ group }) => group.expiresAt)),
  texts(
    timeouts.map(({ group, missing }) =>
      JSON.stringify({
        transactionId: idOf(group),
        correlationId: group.correlationId,
        chunks: group.total,
        received: group.chunks.size,
        missing: missing.slice(0, MAX_LISTED)
      })
    )
  )
]
