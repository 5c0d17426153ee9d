/**
 * How each partition of each consumer group of this process is doing: what `/ready` and `argusiq doctor` ask.
 * @module
 */
import type { BusUnavailable, DatabaseUnavailable, Fenced, OffsetOutOfLog } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { Context, type Effect } from "effect"
import type { TopicPartition } from "../Bus.ts"

export type PartitionStatus =
  | { readonly _tag: "Running" }
  /** It tries again by itself; the reason is a sentence. */
  | { readonly _tag: "Waiting"; readonly reason: string; readonly since: Instant }
  /** A person has to decide; the explanation says what happened. `accept` goes on with the log as it is, at its oldest
   * record, whose offset it gives: what the log has lost never comes to the group. */
  | {
      readonly _tag: "Stopped"
      readonly error: OffsetOutOfLog
      readonly explanation: string
      readonly accept: Effect.Effect<bigint, AcceptRefused>
    }

/** Fenced: another member has the partition by now. */
export type AcceptRefused = BusUnavailable | DatabaseUnavailable | Fenced

export interface PartitionReport extends TopicPartition {
  readonly group: string
  readonly status: PartitionStatus
}

/** Written by the consumer loops of a process, read by who reports on them. */
export class StatusRegistry {
  private readonly reports = new Map<string, PartitionReport>()

  set(group: string, { topic, partition }: TopicPartition, status: PartitionStatus): void {
    this.reports.set(`${group}/${topic}/${partition}`, { group, topic, partition, status })
  }

  /** The partitions a loop no longer owns. */
  remove(group: string, { topic, partition }: TopicPartition): void {
    this.reports.delete(`${group}/${topic}/${partition}`)
  }

  all(): ReadonlyArray<PartitionReport> {
    return [...this.reports.values()]
  }
}

/** One registry for the process unless another is provided. */
export const ConsumerStatus = Context.Reference<StatusRegistry>("argusiq/layers/bus/ConsumerStatus", {
  defaultValue: () => new StatusRegistry()
})
