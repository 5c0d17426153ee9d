/**
 * Where a subscription wants to start, and whether the log has it.
 * @module
 */
import { OffsetOutOfLog } from "@argusiq/domain/errors.ts"
import { Effect, Schedule } from "effect"
import type { Position, Subscription, TopicPartition } from "./Bus.ts"

export const askAgain = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("5 seconds")])

type Answer = Position | OffsetOutOfLog

/** What {@link Subscription.startAt} says of the partitions; asks until it gets an answer. */
export const startAt = ({ group, startAt }: Subscription, partitions: ReadonlyArray<TopicPartition>) =>
  startAt === undefined
    ? Effect.succeed<ReadonlyArray<Answer>>([])
    : startAt(partitions).pipe(
        Effect.tapError((error) => Effect.logWarning(`${group} cannot ask where to start and tries again`, error)),
        Effect.retry(askAgain),
        Effect.orDie // the schedule has no end
      )

export const answerFor = (answers: ReadonlyArray<Answer>, { topic, partition }: TopicPartition): Answer | undefined =>
  answers.find((other) => other.topic === topic && other.partition === partition)

/** Undefined: the log has the offset, or its next record gets it. */
export const outOfLog = (
  group: string,
  logId: string,
  { topic, partition }: TopicPartition,
  { start, end }: { readonly start: number; readonly end: number },
  offset: number
): OffsetOutOfLog | undefined =>
  offset >= start && offset <= end
    ? undefined
    : new OffsetOutOfLog({
        group,
        topic,
        partition,
        offset: String(offset),
        start: String(start),
        end: String(end),
        logId,
        storedLogId: logId
      })
