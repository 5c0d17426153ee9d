/**
 * The chunker: collects the chunks of gateways' messages, publishes each message once it is whole, and gives those up whose
 * chunks do not come in time.
 *
 * What becomes of a group is decided once: the claim is stored, with the offset, before anything is published. A tick at once
 * publishes what is claimed and stores that it is; a crash in between publishes it again, under the same id.
 * @module
 */
import { type Poison } from "@argusiq/domain/errors.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { Topics, topicTable } from "@argusiq/domain/topics.ts"
import { Bus, type TopicPartition } from "@argusiq/layers/bus/Bus.ts"
import { type Consumer, type Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { makePauses } from "@argusiq/layers/bus/pauses.ts"
import { type PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { stampOf, typesOfVersions } from "@argusiq/layers/profiles/stampedVersions.ts"
import { Chunks } from "@argusiq/layers/telemetry/Chunks.ts"
import { Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { Effect, Metric, Result } from "effect"
import { advanceOf } from "./advanceOf.ts"
import { collectBatch, messageKey } from "./collectBatch.ts"
import { makeEmit } from "./emit.ts"
import { makeExpire } from "./expire.ts"
import { Failpoints } from "./Failpoints.ts"
import * as metrics from "./metrics.ts"
import { type OwnedPartition, OwnedGroups } from "./OwnedGroups.ts"
import { ENTRY_BYTES, type ReadChunk, readChunk } from "./readChunk.ts"
import { type WaitingGroups } from "./WaitingGroups.ts"

const seconds = (count: number): Instant => count * 1_000_000

/** Partition time between two looks for groups whose time is over. */
const EXPIRY_INTERVAL = seconds(20)
/** Partition time between two removals of old chunks. */
const CLEANING_INTERVAL = seconds(60)
/** A group's chunks stay as long as their topic can deliver them again, so that this is seen to be a redelivery. */
const KEPT_FOR = topicTable.get(Topics.gatewayChunked)!.retentionMillis * 1_000
/** Chunks removed in one transaction. */
const CLEANED_AT_ONCE = 5_000

const nothing: Outcome = { publish: [], deadLetters: [] }

const countFailed = (errors: ReadonlyArray<Poison>) =>
  Effect.forEach(
    Map.groupBy(errors, ({ reason }) => reason),
    ([reason, failed]) => Metric.update(Metric.withAttributes(metrics.failed, { reason }), failed.length),
    { discard: true }
  )

export const chunker: Effect.Effect<Consumer, never, Bus | Chunks | PipelineSql | Profiles | Transactions> = Effect.gen(
  function* () {
    const bus = yield* Bus
    const chunks = yield* Chunks
    const profiles = yield* Profiles
    const transactions = yield* Transactions
    const reach = yield* Failpoints
    const emit = yield* makeEmit
    const expire = yield* makeExpire
    const owned = new OwnedGroups((at) => chunks.unfinished(at, bus.partitions))

    /** The latest groups of the messages that have no open one. */
    const latestOf = Effect.fnUntraced(function* (reads: ReadonlyArray<ReadChunk>, waiting: WaitingGroups) {
      const unknown = new Map<string, { readonly gatewayId: string; readonly correlationId: string }>()
      for (const { chunk, gatewayId } of reads) {
        const message = { gatewayId, correlationId: chunk.correlationId }
        if (waiting.open(gatewayId, chunk.correlationId) === undefined) unknown.set(messageKey(message), message)
      }
      const found = yield* chunks.latest([...unknown.values()])
      return new Map(found.map(({ group }) => [messageKey(group), group]))
    })

    /** Without what the same retry or replay has sent before: it begins a group once. */
    const withoutRepeated = Effect.fnUntraced(function* (reads: ReadonlyArray<ReadChunk>) {
      const sentAgain = reads.flatMap(({ chunk, gatewayId }) => {
        const { origin, ...rest } = chunk
        return origin === undefined ? [] : [{ ...rest, gatewayId, origin }]
      })
      const repeated = yield* chunks.repeated(sentAgain)
      if (repeated.size === 0) return reads
      let place = 0
      return reads.filter(({ chunk }) => chunk.origin === undefined || !repeated.has(place++))
    })

    const process: Consumer["process"] = Effect.fnUntraced(function* (batch, partitionTime, epoch) {
      const { waiting } = yield* owned.of(batch, epoch)
      const types = yield* typesOfVersions(profiles, batch.records.map(stampOf))
      reach("read")
      const pause = makePauses()
      const reads: Array<ReadChunk> = []
      const deadLetters: Array<Outcome["deadLetters"][number]> = []
      for (const record of batch.records) {
        const result = readChunk(record, types)
        if (Result.isSuccess(result)) reads.push(result.success)
        else deadLetters.push({ record, error: result.failure })
        yield* pause(record.value.byteLength / ENTRY_BYTES)
      }
      const fresh = yield* withoutRepeated(reads)
      const { groups, rows, told, ...collected } = collectBatch(
        fresh,
        waiting,
        yield* latestOf(fresh, waiting),
        partitionTime
      )
      const redelivered = collected.redelivered + reads.length - fresh.length
      deadLetters.push(...collected.deadLetters)
      yield* Metric.update(metrics.collected, rows.length)
      yield* Metric.update(metrics.redelivered, redelivered)
      yield* countFailed(deadLetters.map(({ error }) => error))
      if (rows.length === 0) return { publish: [], deadLetters }
      const complete = groups.filter(({ group }) => group.state === "complete").map(({ group }) => group)
      return {
        publish: [],
        deadLetters,
        store: Effect.gen(function* () {
          reach("storing")
          yield* chunks.store(rows)
          yield* transactions.advance(told.map(advanceOf))
          yield* chunks.claim(complete)
          reach(complete.length > 0 ? "claimed" : "stored")
        }),
        stored: () => {
          for (const group of groups) waiting.put(group)
          reach("committed")
        },
        tickAtOnce: complete.length > 0
      }
    })

    /** Removes what has been kept for long enough, some of it at a time. */
    const clean = (at: TopicPartition, partition: OwnedPartition, partitionTime: Instant): Outcome => {
      const slot = Math.floor(partitionTime / CLEANING_INTERVAL)
      if (slot <= partition.cleaningSlot) return nothing
      return {
        ...nothing,
        store: chunks.forget(at, partitionTime - KEPT_FOR, CLEANED_AT_ONCE),
        stored: () => void (partition.cleaningSlot = slot)
      }
    }

    const tick = Effect.fnUntraced(function* (at: TopicPartition, partitionTime: Instant, epoch: bigint) {
      const partition = yield* owned.of(at, epoch)
      const { waiting } = partition
      yield* Metric.update(metrics.openGroups, owned.openCount())
      if (waiting.claimedGroups > 0) return yield* emit(waiting)
      const slot = Math.floor(partitionTime / EXPIRY_INTERVAL)
      if (slot > partition.expirySlot) {
        const outcome = yield* expire(waiting, partitionTime)
        if (outcome !== undefined) return outcome
        partition.expirySlot = slot
      }
      return clean(at, partition, partitionTime)
    })

    return {
      service: metrics.SERVICE,
      group: Groups.chunker,
      topics: [Topics.gatewayChunked],
      offsets: "postgres",
      process,
      tick
    }
  }
)
