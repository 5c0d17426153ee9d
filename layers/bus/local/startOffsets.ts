/**
 * Where a subscription starts in the partitions it has been given.
 * @module
 */
import { OffsetOutOfLog } from "@argusiq/domain/errors.ts"
import { Effect } from "effect"
import type { Subscription } from "../Bus.ts"
import { answerFor, outOfLog, startAt } from "../startAt.ts"
import type { ConsumerGroup } from "./ConsumerGroups.ts"
import type { Partition } from "./Log.ts"

/**
 * By slot, what to read next; none where that is not in the log, which is logged as an error.
 * The group commits to it, so that retention keeps what is to be read, and all of a partition that waits for a person.
 */
export const startOffsets = Effect.fnUntraced(function* (
  subscription: Subscription,
  group: ConsumerGroup,
  logId: string,
  partitions: ReadonlyArray<Partition>
) {
  const { group: name } = subscription
  const places = partitions.map(({ topic, partition }) => ({ topic: topic.name, partition }))
  const answers = yield* startAt(subscription, places)
  const offsets = new Map<number, number>()
  for (const [index, { slot, bounds }] of partitions.entries()) {
    const at = places[index]!
    const answer = answerFor(answers, at)
    const committed = group.offsets.get(slot)
    const offset = Number(answer?.offset ?? committed ?? bounds.start)
    const refused = answer instanceof OffsetOutOfLog ? answer : outOfLog(name, logId, at, bounds, offset)
    if (refused === undefined) {
      offsets.set(slot, offset)
      group.commit(slot, offset)
      continue
    }
    if (committed === undefined) group.commit(slot, bounds.start)
    yield* Effect.logError(`${name} does not read ${at.topic} partition ${at.partition}`, refused)
  }
  return offsets
})
