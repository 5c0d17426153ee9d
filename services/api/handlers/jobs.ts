import { type Job, type ReplayRequest } from "@argusiq/domain/http/jobs.ts"
import { InvalidRequest } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { type DeviceTypeId, type Instant } from "@argusiq/domain/ids.ts"
import { Topics } from "@argusiq/domain/topics.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { Jobs, type Requested } from "@argusiq/layers/jobs/Jobs.ts"
import { Clock, Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"

/** Messages per second that a job gets through beside live traffic: what its duration is estimated by. */
const usualRate = 5_000

/** What has been published is meant, though it comes into force a moment later. */
const untilInForce = 2_000_000

const ofThePast =
  "must be false: what assets and rules make of the past is made by POST /api/v1/assets/rebuild and /api/v1/rules/rebuild, " +
  "of which nobody is notified"

const toAccepted = ({ jobId, messages }: Requested) => ({
  jobId,
  status: "queued" as const,
  estimatedMessages: messages,
  estimatedDuration: Math.ceil(messages / usualRate)
})

const toProgress = ({ completedAt, error, jobId, progress, startedAt, status, total }: Job) => ({
  jobId,
  status,
  progress,
  total,
  startedAt,
  completedAt,
  error
})

/** What is asked for ends now at the latest: later messages are no history yet. */
export const spanOf = Effect.fnUntraced(function* (from: Instant, end: Instant, names: readonly [string, string]) {
  const now = (yield* Clock.currentTimeMillis) * 1_000
  const to = Math.min(end, now)
  if (from < to) return { from, to }
  const message = from < end ? "must be in the past" : `must be before ${names[1]}`
  return yield* new InvalidRequest({ errors: [{ path: names[0], message }] })
})

export const jobs = HttpApiBuilder.group(
  RestApi,
  "jobs",
  Effect.fnUntraced(function* (handlers) {
    const jobs = yield* Jobs
    const bus = yield* Bus

    /** At most so many records of the topic are of the span. */
    const inTopic = Effect.fnUntraced(function* ({ startTime }: typeof ReplayRequest.Type) {
      let records = 0n
      for (let partition = 0; partition < bus.partitions; partition++) {
        const at = { topic: Topics.raw, partition }
        records += (yield* bus.range(at)).end - (yield* bus.offsetAt(at, startTime))
      }
      return Number(records)
    })

    const cancel = (id: string) => Effect.flatMap(Principal, (caller) => jobs.cancel(caller, id))
    const get = (id: string) => Effect.flatMap(Principal, (caller) => jobs.get(caller, id))
    return handlers.handleAll({
      replay: ({ payload }) =>
        Effect.gen(function* () {
          const { endTime, startTime, ...asked } = payload
          if (asked.sideEffects === true)
            return yield* new InvalidRequest({ errors: [{ path: "sideEffects", message: ofThePast }] })
          const span = yield* spanOf(startTime, endTime, ["startTime", "endTime"])
          const records =
            asked.source === "topic" ? yield* Effect.catchTag(inTopic(payload), "UnknownTopic", Effect.die) : undefined
          const parameters = { ...asked, ...span, sideEffects: asked.sideEffects ?? false }
          return toAccepted(yield* jobs.replay(yield* Principal, parameters, records))
        }).pipe(orProblem),
      replayState: ({ params }) => Effect.map(get(params.jobId), toProgress).pipe(orProblem),
      cancelReplay: ({ params }) => Effect.map(cancel(params.jobId), toProgress).pipe(orProblem),
      reprocess: ({ params, payload }) =>
        Effect.gen(function* () {
          const span = yield* spanOf(payload.from, payload.to, ["from", "to"])
          const asOf = (yield* Clock.currentTimeMillis) * 1_000 + untilInForce
          const version = payload.version === undefined ? {} : { version: payload.version }
          const parameters = { deviceTypeId: params.id as DeviceTypeId, ...span, asOf, ...version }
          return toAccepted(yield* jobs.reprocess(yield* Principal, parameters))
        }).pipe(orProblem),
      list: ({ query }) => Effect.flatMap(Principal, (caller) => jobs.list(caller, query)).pipe(orProblem),
      get: ({ params }) => get(params.jobId).pipe(orProblem),
      cancel: ({ params }) => cancel(params.jobId).pipe(orProblem)
    })
  })
)
