/**
 * Works off the jobs that people have asked for: those of one organisation and kind one after another, the oldest first, some
 * of these lanes at a time, so that a job that waits holds up nobody else's. One process does it at a time, the owner of an
 * advisory lock; a job that its worker has left goes on where it had come to.
 * @module
 */
import { meaningOf } from "@argusiq/layers/bus/consumer/failure.ts"
import { type AdvisoryLock, tryAdvisoryLock } from "@argusiq/layers/database/advisoryLock.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import * as JobQueue from "@argusiq/layers/jobs/JobQueue.ts"
import { Cause, type Duration, Effect, Latch, Metric, Schema } from "effect"
import { type SqlError } from "effect/sql/SqlError"
import { rebuild } from "./Rebuild.ts"
import { replay } from "./Replay.ts"
import { reprocess } from "./Reprocess.ts"
import { makeThrottle, type Throttle } from "./throttle.ts"

const ended = Metric.counter("argusiq_jobs_ended_total", { incremental: true })
const countEnd = (kind: string, state: string) =>
  Metric.update(Metric.withAttributes(ended, { service: "jobs", kind, state }), 1)

const LOOK_FOR_JOBS = "1 second"
/** How long it takes at most until a cancelled job stops, beside what it is just doing. */
const LOOK_WHETHER_WANTED = "500 millis"
const TRY_AGAIN = "2 seconds"
/** Each holds a page of messages. Jobs that wait do not count. */
const MOST_AT_ONCE = 8

/** False when it has to wait. */
const work = Effect.fnUntraced(function* (job: JobQueue.TakenJob, throttle: Throttle) {
  if (job.kind === "reprocess") return yield* reprocess(job, throttle)
  if (job.kind === "replay") yield* replay(job, throttle)
  else yield* rebuild(job, throttle)
  return true
})

/** Until somebody cancels it, or another worker has it. */
const untilUnwanted = Effect.fnUntraced(function* (job: JobQueue.TakenJob) {
  const sql = yield* PipelineSql
  while (yield* Effect.orElseSucceed(JobQueue.isWanted(sql, job), () => true)) yield* Effect.sleep(LOOK_WHETHER_WANTED)
  return yield* new JobQueue.NotWanted()
})

/** Takes a job to its end; false when it has to wait for something and goes on later. */
const runJob = Effect.fnUntraced(function* (job: JobQueue.TakenJob, throttle: Throttle) {
  const sql = yield* PipelineSql
  if (!job.isWaiting) {
    yield* Effect.logInfo(`Job ${job.id} (${job.kind}) ${job.checkpoint === null ? "begins" : "goes on"}`)
  }
  const completed = JobQueue.complete(sql, job).pipe(
    Effect.andThen(countEnd(job.kind, "completed")),
    Effect.andThen(Effect.logInfo(`Job ${job.id} (${job.kind}) has completed`)),
    Effect.as(true)
  )
  return yield* Effect.raceFirst(work(job, throttle), untilUnwanted(job)).pipe(
    Effect.flatMap((isDone) => (isDone ? completed : Effect.succeed(false))),
    Effect.catchCause((cause) => {
      if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
      if (cause.reasons.some((reason) => Cause.isFailReason(reason) && reason.error instanceof JobQueue.NotWanted)) {
        return Effect.as(Effect.logInfo(`Job ${job.id} (${job.kind}) was cancelled, or is another worker's`), true)
      }
      const meaning = meaningOf(cause)
      if (meaning._tag === "Wait" && !meaning.fault) {
        return Effect.as(Effect.logWarning(`Job ${job.id} (${job.kind}) waits: ${meaning.message}`), false)
      }
      return Effect.gen(function* () {
        yield* Effect.logError(`Job ${job.id} (${job.kind}) failed`, cause)
        yield* JobQueue.fail(sql, job, wordsOf(cause))
        yield* countEnd(job.kind, "failed")
        return true
      })
    })
  )
})

const wordsOf = (cause: Cause.Cause<unknown>): string => {
  const parameters = cause.reasons.some((reason) => Cause.isFailReason(reason) && Schema.isSchemaError(reason.error))
  if (parameters) return "This release cannot read what the job was asked for: ask for it again."
  const meaning = meaningOf(cause)
  const why = "message" in meaning ? meaning.message : "error" in meaning ? meaning.error.message : "unknown"
  return `It stopped by a fault: ${why}. What it had done until then stays; ask for it again once that is put right.`
}

/** Takes jobs for as long as the lock is held. Ends, and its jobs with it, when looking for them fails. */
const workOff = Effect.fnUntraced(function* (lock: AdvisoryLock, throttle: Throttle) {
  const sql = yield* PipelineSql
  /** Lanes of the jobs that run, and of those that rest before they are tried again. */
  const busy = new Set<string>()
  let running = 0
  /** Opens when a lane is free. */
  const freed = Latch.makeUnsafe(false)
  const inLane = (job: JobQueue.TakenJob) =>
    runJob(job, throttle).pipe(
      Effect.catch((error: SqlError) =>
        Effect.as(
          Effect.logWarning(`What became of job ${job.id} (${job.kind}) cannot be stored; trying again`, error),
          false
        )
      ),
      Effect.ensuring(Effect.sync(() => void running--)),
      Effect.tap((isOver) => (isOver ? Effect.void : Effect.sleep(TRY_AGAIN))),
      Effect.ensuring(
        Effect.sync(() => {
          busy.delete(JobQueue.laneOf(job))
          freed.openUnsafe()
        })
      )
    )
  while (true) {
    yield* lock.check
    freed.closeUnsafe()
    const job = running < MOST_AT_ONCE ? yield* JobQueue.take(sql, ["replay", "reprocess", "rebuild"], busy) : undefined
    if (job === undefined) {
      yield* Effect.timeoutOption(freed.await, LOOK_FOR_JOBS)
      continue
    }
    busy.add(JobQueue.laneOf(job))
    running++
    yield* Effect.forkScoped(inLane(job))
  }
})

/** Runs until interrupted. Fails only for a wrong setting. `standBy`: between two tries of a process that is not the owner. */
export const run = Effect.fnUntraced(function* (standBy: Duration.Input = "5 seconds") {
  const sql = yield* PipelineSql
  const throttle = yield* makeThrottle
  const whileOwner = Effect.scoped(
    Effect.gen(function* () {
      const lock = yield* tryAdvisoryLock(sql, "argusiq/job-runner")
      if (lock !== undefined) yield* workOff(lock, throttle)
    })
  )
  return yield* whileOwner.pipe(
    Effect.catch((error: SqlError) => Effect.logWarning("Looking for jobs failed; trying again", error)),
    Effect.andThen(Effect.sleep(standBy)),
    Effect.forever
  )
})
