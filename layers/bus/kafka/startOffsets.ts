/**
 * Where a subscription starts in the partitions it has been given.
 * @module
 */
import { OffsetOutOfLog } from "@argusiq/domain/errors.ts"
import { Effect } from "effect"
import type { Subscription } from "../Bus.ts"
import { answerFor, askAgain, outOfLog, startAt } from "../startAt.ts"
import { Assigned, type Place } from "./Assigned.ts"
import { EARLIEST, LATEST, type LogReader } from "./LogReader.ts"
import { type Key, keyOf, type Offset } from "./Membership.ts"

export interface StartOptions {
  readonly reader: LogReader
  readonly logId: string
  readonly nameOf: (name: string) => string
}

export interface Started {
  readonly assigned: ReadonlyArray<Assigned>
  /** To be committed, so that who asks for the group's lag is told of all that it has to read. */
  readonly begun: ReadonlyArray<Offset>
}

/** A partition whose offset is not in the log is stopped, and that is logged as an error. Asks until it gets answers. */
export const startOffsets = Effect.fnUntraced(function* (
  { reader, logId, nameOf }: StartOptions,
  subscription: Subscription,
  places: ReadonlyArray<Place>
): Effect.fn.Return<Started> {
  const { group, maxRecords } = subscription
  const log = yield* persist(`${group} cannot learn what Kafka has`, () => measure(reader, nameOf(group), places))
  const answers = yield* startAt(
    subscription,
    places.map(({ topic, partition }) => ({ topic, partition }))
  )
  const assigned: Array<Assigned> = []
  const begun: Array<Offset> = []
  for (const place of places) {
    const { key, topic, partition, kafkaTopic } = place
    const answer = answerFor(answers, place)
    const committed = log.committed.get(key)
    const start = log.starts.get(key) ?? 0
    const measured = log.ends.get(key) ?? 0
    const offset = Number(answer?.offset ?? committed ?? start)
    // Beyond the end it is measured again: others write meanwhile. What was removed meanwhile is noticed when it is read.
    const end = offset > measured ? yield* endOf(reader, group, place) : measured
    const refused = answer instanceof OffsetOutOfLog ? answer : outOfLog(group, logId, place, { start, end }, offset)
    const one = new Assigned(place, log.ids.get(kafkaTopic), offset, maxRecords)
    one.end = Math.max(end, offset)
    one.stopped = refused !== undefined
    assigned.push(one)
    if (refused === undefined) {
      if (offset !== committed) begun.push({ topic: kafkaTopic, partition, offset })
    } else {
      if (committed === undefined) begun.push({ topic: kafkaTopic, partition, offset: start })
      yield* Effect.logError(`${group} does not read ${topic} partition ${partition}`, refused)
    }
  }
  return { assigned, begun }
})

const measure = async (reader: LogReader, groupId: string, places: ReadonlyArray<Place>) => {
  const at = places.map(({ kafkaTopic, partition }) => ({ topic: kafkaTopic, partition }))
  const ids = await reader.topicIds([...new Set(at.map(({ topic }) => topic))])
  const committed = await reader.committed(groupId)
  return {
    ids,
    committed: new Map<Key, number>(committed.map(({ topic, partition, offset }) => [keyOf(topic, partition), offset])),
    starts: await reader.offsets(at, EARLIEST),
    ends: await reader.offsets(at, LATEST)
  }
}

const endOf = (reader: LogReader, group: string, { key, kafkaTopic, partition }: Place) =>
  Effect.map(
    persist(`${group} cannot measure the log`, () => reader.offsets([{ topic: kafkaTopic, partition }], LATEST)),
    (ends) => ends.get(key) ?? 0
  )

const persist = <A>(failing: string, request: () => Promise<A>): Effect.Effect<A> =>
  Effect.tryPromise({ try: request, catch: (error) => error }).pipe(
    Effect.tapError((error) => Effect.logDebug(`${failing} and tries again`, error)),
    Effect.retry(askAgain),
    Effect.orDie // the schedule has no end
  )
