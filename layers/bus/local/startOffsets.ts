/**
 * Where a subscription starts in the partitions it has been given.
 * @module
 */
import { OffsetOutOfLog } from "@argusiq/domain/errors.ts"
import { Effect, Schedule } from "effect"
import type { Subscription } from "../Bus.ts"
import type { ConsumerGroup } from "./ConsumerGroups.ts"
import type { Partition } from "./Log.ts"

const askAgain = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("5 seconds")])

/** Undefined: the log has the offset, or its next record gets it. */
export const outOfLog = (
  group: string,
  logId: string,
  { topic, partition, bounds: { start, end } }: Partition,
  offset: number
): OffsetOutOfLog | undefined =>
  offset >= start && offset <= end
    ? undefined
    : new OffsetOutOfLog({
        group,
        topic: topic.name,
        partition,
        offset: String(offset),
        start: String(start),
        end: String(end),
        logId,
        storedLogId: logId
      })

/**
 * By slot, what to read next; none where that is not in the log, which is logged as an error. Asks until it gets an answer.
 * The group commits to it, so that retention keeps what is to be read, and all of a partition that waits for a person.
 */
export const startOffsets = Effect.fnUntraced(function* (
  { group: name, startAt }: Subscription,
  group: ConsumerGroup,
  logId: string,
  partitions: ReadonlyArray<Partition>
) {
  const answers =
    startAt === undefined
      ? []
      : yield* startAt(partitions.map(({ topic, partition }) => ({ topic: topic.name, partition }))).pipe(
          Effect.tapError((error) => Effect.logWarning(`${name} cannot ask where to start and tries again`, error)),
          Effect.retry(askAgain),
          Effect.orDie // the schedule has no end
        )
  const offsets = new Map<number, number>()
  for (const partition of partitions) {
    const { slot, topic, bounds } = partition
    const answer = answers.find((other) => other.topic === topic.name && other.partition === partition.partition)
    const committed = group.offsets.get(slot)
    const offset = Number(answer?.offset ?? committed ?? bounds.start)
    const refused = answer instanceof OffsetOutOfLog ? answer : outOfLog(name, logId, partition, offset)
    if (refused === undefined) {
      offsets.set(slot, offset)
      group.commit(slot, offset)
      continue
    }
    if (committed === undefined) group.commit(slot, bounds.start)
    yield* Effect.logError(`${name} does not read ${topic.name} partition ${partition.partition}`, refused)
  }
  return offsets
})
