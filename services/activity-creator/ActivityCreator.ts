/**
 * The activity creator: makes work out of events. An event makes an activity by each template that it calls for, or joins
 * the one that is open already; notifications and webhook deliveries come with it. All of it is stored in the transaction of
 * the offset; what leaves the platform leaves from there.
 *
 * The key of an event is its entity, so that what happens to an entity is dealt with one after another.
 * @module
 */
import { Poison } from "@argusiq/domain/errors.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { SystemEvent } from "@argusiq/domain/system-event.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { storeEvents } from "@argusiq/layers/activities/storeEvents.ts"
import { type StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { type Consumer, type Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Effect, Metric, Result, Schema } from "effect"
import { Failpoints } from "./Failpoints.ts"

const SERVICE = "activity-creator"

const activities = Metric.counter("argusiq_activities_total", {
  description: "What events came to: activities made, joined and cancelled",
  incremental: true
})
const counted = (outcome: string) => Metric.withAttributes(activities, { service: SERVICE, outcome })
const [made, joined, cancelled] = [counted("made"), counted("joined"), counted("cancelled")]

const decodeEvent = Schema.decodeUnknownResult(Schema.fromJsonString(SystemEvent))
const decoder = new TextDecoder()

const readEvent = ({ value }: StoredRecord): Result.Result<SystemEvent, Poison> =>
  Result.mapError(
    decodeEvent(decoder.decode(value)),
    (error) => new Poison({ reason: "Undecodable", message: `Not an event: ${error.message}` })
  )

export const activityCreator: Effect.Effect<Consumer, never, PipelineSql> = Effect.gen(function* () {
  const sql = yield* PipelineSql
  const reach = yield* Failpoints

  const process: Consumer["process"] = Effect.fnUntraced(function* ({ records }) {
    const context = yield* Effect.context<never>()
    const events: Array<SystemEvent> = []
    const deadLetters: Array<Outcome["deadLetters"][number]> = []
    for (const record of records) {
      const read = readEvent(record)
      if (Result.isSuccess(read)) events.push(read.success)
      else deadLetters.push({ record, error: read.failure })
    }
    reach("read")
    if (events.length === 0) return { publish: [], deadLetters }
    let counts = { made: 0, joined: 0, cancelled: 0 }
    return {
      publish: [],
      deadLetters,
      store: Effect.gen(function* () {
        reach("storing")
        counts = yield* storeEvents(sql, events)
        reach("stored")
      }),
      stored: () => {
        reach("committed")
        made.updateUnsafe(counts.made, context)
        joined.updateUnsafe(counts.joined, context)
        cancelled.updateUnsafe(counts.cancelled, context)
      }
    }
  })

  return { service: SERVICE, group: Groups.activityCreator, topics: [Topics.events], offsets: "postgres", process }
})
