/**
 * Stopping a partition whose offset does not fit the log, and going on with it when a person has decided to.
 * @module
 */
import { DatabaseUnavailable, Fenced, OffsetOutOfLog, type UnknownTopic } from "@argusiq/domain/errors.ts"
import { Effect } from "effect"
import type { TopicPartition } from "../Bus.ts"
import type { AcceptRefused } from "./ConsumerStatus.ts"
import type { Loop } from "./Loop.ts"
import * as Offsets from "./Offsets.ts"
import { keyOf, Partition } from "./Partition.ts"

export interface Bounds {
  readonly start: bigint
  readonly end: bigint
  readonly logId: string
}

/** An offset that the log cannot serve, and in words why. */
export interface Misfit {
  readonly error: OffsetOutOfLog
  readonly what: string
}

export const misfit = (
  group: string,
  { topic, partition }: TopicPartition,
  { start, end, logId }: Bounds,
  offset: bigint,
  storedLogId: string,
  what: string
): Misfit => ({
  error: new OffsetOutOfLog({
    group,
    topic,
    partition,
    offset: String(offset),
    start: String(start),
    end: String(end),
    logId,
    storedLogId
  }),
  what
})

/** What the loop knows of a partition that it has taken over and does not read. */
export type Standing = Pick<Partition, "at" | "epoch" | "time">

/** Reports the partition as stopped. `resumed` runs when a person has accepted the log as it is and the partition goes on. */
export const stop = <R>(
  loop: Loop<R>,
  standing: Standing,
  { error, what }: Misfit,
  resumed: Effect.Effect<unknown> = Effect.void
) => {
  const { group, topic, partition, offset, start, end, logId, storedLogId } = error
  const explanation =
    `${what} (offset ${offset} of log ${storedLogId || "unknown"}; the log is ${logId} and holds ${start} to ${end}). ` +
    "Nothing is skipped or renumbered; the other partitions go on."
  const accept = Effect.tap(goOn(loop, standing), () => resumed)
  loop.status.set(group, { topic, partition }, { _tag: "Stopped", error, explanation, accept })
  return Effect.logError(
    `${group} has stopped on ${topic}/${partition}: ${explanation} A person has to decide: npx argusiq doctor says what can be done.`
  )
}

/** From the oldest record of the log: what the group has stored of it already is recognised by its ids. */
const goOn = <R>(loop: Loop<R>, { at, epoch, time }: Standing): Effect.Effect<bigint, AcceptRefused> =>
  Effect.gen(function* () {
    const { bus, consumer, partitions, sql, status } = loop
    const { group } = consumer
    const { start } = yield* bus.range(at)
    if (consumer.offsets === "postgres") {
      const isOurs = yield* Offsets.beginAgain(sql, { ...at, group, epoch }, bus.logId, start).pipe(
        Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
      )
      if (!isOurs) return yield* new Fenced({ group, ...at })
    }
    partitions.set(keyOf(at), new Partition(at, epoch, start, time))
    status.set(group, at, { _tag: "Running" })
    yield* bus.seek(group, [{ ...at, offset: start }])
    yield* Effect.logWarning(
      `${group} goes on with ${keyOf(at)} at offset ${start}, the oldest record of the log, because a person has accepted it`
    )
    return start
  }).pipe(Effect.catchTag("UnknownTopic", (unknown: UnknownTopic) => Effect.die(unknown)))
