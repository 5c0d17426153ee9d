/**
 * The bus: durable, partitioned, replayable topics. All that services see of Kafka or of the embedded log.
 * @module
 */
import type { BusUnavailable, OffsetOutOfLog, RecordTooLarge, Retryable, UnknownTopic } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { Context, type Effect, type Scope, type Stream } from "effect"

export interface BusRecord {
  readonly topic: string
  readonly key: string // UTF-8; partition = murmur2(key) mod partitions
  readonly value: Uint8Array
  readonly headers: Readonly<Record<string, string>>
  /** The object that `value` is the JSON of, if it is at hand. It is not stored: readers in this process may get it as `parsed`. */
  readonly json?: object
}
export interface StoredRecord extends Omit<BusRecord, "json"> {
  readonly partition: number
  readonly offset: bigint
  readonly appendedAt: Instant
  /**
   * What the value is the JSON of: handed over by who published it, or parsed by the first of several readers that get this very
   * object, and null until then. Undefined: each reader parses for itself. Never to be changed.
   */
  parsed?: object | null | undefined
}
export interface TopicPartition {
  readonly topic: string
  readonly partition: number
}
export interface Position extends TopicPartition {
  readonly offset: bigint
} // the next to read
/** Of one partition, in offset order, never empty. Offsets may have gaps (Kafka control records, retention). */
export interface Batch extends TopicPartition {
  readonly records: ReadonlyArray<StoredRecord>
  readonly next: bigint
  readonly end: bigint
}
export interface Subscription {
  readonly group: string
  readonly topics: ReadonlyArray<string>
  readonly maxRecords: number // 2,000
  readonly maxBytes: number // 16 MiB; a larger record comes alone
  readonly maxWaitMillis: number // 5
  /** Partitions of the same number go to the same member: what the topics tell of one key comes together. */
  readonly together?: boolean
  /** Asked at each assignment, with what is newly owned: where to start. Absent, and for a partition left out of the answer: where the
   * bus's committed offset says, else at the beginning. A partition whose offset is outside the log stops; the others go on. */
  readonly startAt?: (
    assigned: ReadonlyArray<TopicPartition>
  ) => Effect.Effect<ReadonlyArray<Position | OffsetOutOfLog>, Retryable>
  /** Run before offsets are committed on the bus: those of the batches handled until then are collected, this runs, they are committed;
   * about once a second and once at the end, no partition waiting meanwhile. When it fails they stay collected for the next time.
   * Absent: committed with each success. */
  readonly beforeCommit?: Effect.Effect<void, Retryable>
}
/** What a follower reads: every record of the topics from the end of the log on, without a group. */
export interface Following {
  readonly name: string // for the log
  readonly topics: ReadonlyArray<string>
  readonly maxRecords: number
  readonly maxBytes: number
  readonly maxWaitMillis: number
  /** A partition whose next record has been in the log for longer goes on at the end. Absent: never, however long it takes. */
  readonly skipAfterMillis?: number
  /** A partition went on at the end, for that reason or because what came next is not in the log any more. */
  readonly skipped: (at: TopicPartition) => void
  /** All partitions are at their beginning: what is published from here on is handed out. */
  readonly started?: Effect.Effect<void>
}
export class Bus extends Context.Service<
  Bus,
  {
    /** Identity of the log; offsets kept elsewhere are void when it changes. Kafka: the cluster id. */
    readonly logId: string
    /** Of every topic, so that a key has the same partition on all of them. Fixed for the life of the log, or of the cluster's topics. */
    readonly partitions: number
    /** Completes when all records are durable. They are handed over: nothing of them may be changed afterwards. Records of one key
     * are appended in the order of the calls, overlapping calls too. After an error any part of them may have been appended. */
    publish(records: ReadonlyArray<BusRecord>): Effect.Effect<void, BusUnavailable | RecordTooLarge | UnknownTopic>
    /** Runs until interrupted; interruption lets running batches end. `handle` is sequential in a partition, concurrent across, oldest
     * record first; interrupted when its partition is revoked. Subscriptions of one group share the partitions. Success of `handle`
     * commits `batch.next`: the truth without `startAt`, with it only what retention and `lag` go by. */
    subscribe<E, R>(
      subscription: Subscription,
      handle: (batch: Batch) => Effect.Effect<void, E, R>
    ): Effect.Effect<never, E | BusUnavailable | UnknownTopic, R | Scope.Scope>
    /** Runs until interrupted. Every follower gets every record; nothing is committed, and neither retention nor anybody who asks
     * for lag knows of it. `handle` is sequential in a partition. For what is worth telling only while it is fresh. */
    follow<E, R>(
      following: Following,
      handle: (batch: Batch) => Effect.Effect<void, E, R>
    ): Effect.Effect<never, E | BusUnavailable | UnknownTopic, R>
    /** From `from` up to but not including `to`, or to the end of the log as it is when reached; starts at the oldest record when
     * `from` has been removed. */
    read(at: TopicPartition, from: bigint, to: bigint): Stream.Stream<StoredRecord, BusUnavailable | UnknownTopic>
    range(
      at: TopicPartition
    ): Effect.Effect<{ readonly start: bigint; readonly end: bigint }, BusUnavailable | UnknownTopic>
    /** Of the first record appended at `time` or later; the end when there is none. */
    offsetAt(at: TopicPartition, time: Instant): Effect.Effect<bigint, BusUnavailable | UnknownTopic>
    /** By partition of the group: its committed offset, the records from there to the end, and the seconds that the first of them has
     * been in the log. Empty: the group has never subscribed. */
    lag(
      group: string
    ): Effect.Effect<ReadonlyArray<Position & { readonly records: bigint; readonly seconds: number }>, BusUnavailable>
    /** Moves the group, and its running subscriptions: a batch being handled meanwhile no longer counts. Offsets outside the log stop
     * their partition. Completes when durable. */
    seek(group: string, to: ReadonlyArray<Position>): Effect.Effect<void, BusUnavailable>
  }
>()("argusiq/layers/bus/Bus") {}
