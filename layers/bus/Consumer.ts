/**
 * The one consumer loop of all services: what a service contributes to it, and how it is run.
 * @module
 */
import type { DatabaseUnavailable, Poison, Retryable } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import type { Effect } from "effect"
import type { Batch, BusRecord, StoredRecord, TopicPartition } from "./Bus.ts"

export { run as runConsumer } from "./consumer/run.ts"

/** What a batch comes to. The loop publishes first, dead letters included, waits until that is durable, and then moves the offset: in
 * one transaction with `store` where there is one, else on the bus. A crash in between repeats the batch; ids derived from the input
 * make that harmless. What must not leave twice, or not without its row (events, activities), is stored in `store` and relayed. */
export interface Outcome<R = never> {
  readonly publish: ReadonlyArray<BusRecord>
  readonly deadLetters: ReadonlyArray<{
    readonly record: StoredRecord
    readonly entry?: number
    readonly error: Poison
  }>
  /** Runs in the loop's transaction. Refused for good: the loop halves the batch until one record is to blame (`Unstorable`). */
  readonly store?: Effect.Effect<void, DatabaseUnavailable | Poison, R>
  /** In place of `store`: what is stored together with the rows of other partitions that have some at the same time. */
  readonly rows?: Rows<R>
  /** Called when `store` is committed, before the partition goes on: what a service keeps in memory of its rows follows them here. */
  readonly stored?: () => void
  /** The partition ticks before its next batch, again and again as long as the ticks' outcomes ask for it. For what may be published
   * only once it is stored. */
  readonly tickAtOnce?: boolean
}

export interface Rows<R = never> {
  readonly values: ReadonlyArray<unknown>
  /** As {@link Outcome.store}, of the values of several batches, those of a partition in their order. The same for all batches. */
  store(values: ReadonlyArray<unknown>): Effect.Effect<void, DatabaseUnavailable | Poison, R>
}

export interface Consumer<R = never> {
  readonly service: string // metric label and `dlq-stage`
  readonly group: string // argusiq.{service}, or argusiq.{service}.{purpose} where a service has several
  readonly topics: ReadonlyArray<string>
  /** The partitions of the same number, of all topics, are one member's. */
  readonly together?: boolean
  readonly offsets: "bus" | "postgres"
  /** How long a partition that has just had a batch waits for more to come together: each batch has its price. 5; one that was idle
   * is handed out at once. */
  readonly maxWaitMillis?: number
  /** While there is lag, a partition is handed out in parts that are no further ahead of the slowest, in received-at: for consumers
   * whose partitions' outputs meet. Of partitions in one process; one that does not move is not waited for longer than 2 s. */
  readonly maxDriftMicros?: number
  /** `partitionTime`: received-at of the last record while there is lag, else that of the groups feeding the partition, the clock only on
   * the first topic; never backwards. The same records, rows and configuration must
   * give the same outcome. `epoch`: of the partition's assignment; what a service remembers of the partition counts only within it. */
  readonly process: (batch: Batch, partitionTime: Instant, epoch: bigint) => Effect.Effect<Outcome<R>, Retryable, R>
  /** Called once a second per owned partition, and when an outcome asks for it; also without records: chunk expiry, silence, durations that end. */
  readonly tick?: (at: TopicPartition, partitionTime: Instant, epoch: bigint) => Effect.Effect<Outcome<R>, Retryable, R>
}
