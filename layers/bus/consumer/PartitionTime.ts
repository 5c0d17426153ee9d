/**
 * Partition time: how far, in received-at, a partition has been processed. Every timer of the product runs on it. It comes
 * from the records while there are any to come, and from whoever feeds the partition when there are none; never backwards.
 * @module
 */
import type { Instant } from "@argusiq/domain/ids.ts"
import { isFedByAll } from "@argusiq/domain/pipeline.ts"
import type { StoredRecord } from "../Bus.ts"

/** The time of a partition of which nothing is known. */
export const unknown: Instant = 0

/** A replay or a retry tells of the past, not of how far the partition is. */
const tellsTime = ({ headers }: StoredRecord) =>
  headers["replay-job"] === undefined && headers["retry-of"] === undefined

/** The later of the two. */
const afterOne = (time: Instant, record: StoredRecord): Instant => {
  const receivedAt = Number(record.headers["received-at"])
  return receivedAt > time && Number.isSafeInteger(receivedAt) && tellsTime(record) ? receivedAt : time
}

/** Undefined: it tells no time. */
export const receivedAtOf = (record: StoredRecord): Instant | undefined => afterOne(unknown, record) || undefined

/** The time after these records: the latest received-at, however the records are cut into batches. */
export const after = (time: Instant, records: ReadonlyArray<StoredRecord>): Instant => records.reduce(afterOne, time)

/**
 * As {@link after} where records tell the time. They do not where every partition of the feeders writes here: the records of a
 * slower one come after those of a faster one. There only the feeders' times do, once what they had written is processed.
 */
export const afterOf = (topic: string, time: Instant, records: ReadonlyArray<StoredRecord>): Instant =>
  isFedByAll(topic) ? time : after(time, records)

/** What the feeders' times were, and where the log ended afterwards: all they had written by that time lies below `end`. */
export interface Feed {
  readonly time: Instant
  readonly end: bigint
}

/** The time of a partition processed up to `next`. */
export const withoutLag = (time: Instant, next: bigint, feed: Feed | undefined): Instant =>
  feed !== undefined && next >= feed.end && feed.time > time ? feed.time : time
