/**
 * The work that nobody asks for: partitions of telemetry, their retention, rollups, expired sessions, and what waits for
 * the bus. One process does it at a time, the owner of an advisory lock; the others stand by.
 * @module
 */
import { forgetGaps } from "@argusiq/layers/connectivity/IngestGaps.ts"
import { tryAdvisoryLock } from "@argusiq/layers/database/advisoryLock.ts"
import { auditTable, framesTable, rawTable } from "@argusiq/layers/database/partitions.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as Rollups from "@argusiq/layers/telemetry/Rollups.ts"
import { Clock, Config, type Duration, Effect, Metric } from "effect"
import { type SqlError } from "effect/sql/SqlError"
import { removeExpiredSessions } from "./expiredSessions.ts"
import { removeOldNotices } from "./oldNotices.ts"
import { outboxes } from "./outboxes.ts"
import { type Care, careFor, oldestKept } from "./partitionCare.ts"

const day = 86_400_000

const days = (name: string, usual: number) =>
  Config.Number(name).pipe(
    Config.withDefault(usual),
    Config.map((value) => Math.max(0, value) * day)
  )

const settings = Config.all({
  rawKeep: days("TELEMETRY_RAW_RETENTION_DAYS", 7),
  rawMaxBytes: Config.Number("TELEMETRY_RAW_MAX_BYTES").pipe(Config.withDefault(10e9)),
  framesKeep: days("TELEMETRY_FRAMES_RETENTION_DAYS", 365),
  noticesKeep: days("NOTIFICATIONS_RETENTION_DAYS", 90),
  auditKeep: days("AUDIT_RETENTION_DAYS", 730)
})

/** How long each kind of work rests before it comes again. */
export interface Pauses {
  readonly round: Duration.Input
  readonly rollUp: Duration.Input
  /** Between two tries of a process that is not the owner. */
  readonly standBy: Duration.Input
}

const usualPauses: Pauses = { round: "10 minutes", rollUp: "1 minute", standBy: "15 seconds" }

const droppedPartitions = Metric.withAttributes(Metric.counter("argusiq_partitions_dropped_total"), { service: "jobs" })
const rolledHours = Metric.withAttributes(Metric.counter("argusiq_rollup_hours_total"), { service: "jobs" })
const movedRows = Metric.withAttributes(Metric.counter("argusiq_partition_rows_moved_total"), { service: "jobs" })

const tell = Effect.fnUntraced(function* (table: string, care: Care) {
  if (care.dropped.length > 0) yield* Effect.logInfo(`${table}: dropped by retention: ${care.dropped.join(", ")}`)
  if (care.movedRows > 0)
    yield* Effect.logInfo(`${table}: ${care.movedRows} rows from outside moved into their partitions`)
  if (care.removedOutside > 0)
    yield* Effect.logInfo(`${table}: ${care.removedOutside} expired rows removed from outside`)
  yield* Metric.update(droppedPartitions, care.dropped.length)
  yield* Metric.update(movedRows, care.movedRows)
})

/** Runs until interrupted. What fails is logged and tried again in the next round. Fails only for a wrong setting. */
export const run = Effect.fnUntraced(function* (pauses: Pauses = usualPauses) {
  const limits = yield* settings
  const sql = yield* OwnerSql
  const round = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const frames = { keep: limits.framesKeep }
    yield* Rollups.freezeBefore(sql, oldestKept(framesTable, frames, now), now)
    yield* tell("telemetry_frames", yield* careFor(sql, framesTable, frames, now))
    yield* tell(
      "telemetry_raw",
      yield* careFor(sql, rawTable, { keep: limits.rawKeep, maxBytes: limits.rawMaxBytes }, now)
    )
    yield* tell("audit_log", yield* careFor(sql, auditTable, { keep: limits.auditKeep }, now))
    const sessions = yield* removeExpiredSessions(sql)
    if (sessions > 0) yield* Effect.logInfo(`${sessions} expired sessions removed`)
    const notices = yield* removeOldNotices(sql, limits.noticesKeep)
    if (notices > 0) yield* Effect.logInfo(`${notices} old notifications and webhook deliveries removed`)
    yield* forgetGaps(sql)
  })
  const rollUp = Effect.gen(function* () {
    yield* Rollups.advance(sql, yield* Clock.currentTimeMillis)
    yield* Metric.update(rolledHours, yield* Rollups.refresh(sql))
  })
  /** The lock lives as long as its connection: each round begins by asking whether that still answers. */
  const whileOwner = Effect.scoped(
    Effect.gen(function* () {
      const lock = yield* tryAdvisoryLock(sql, "argusiq/jobs")
      if (lock === undefined) return
      const repeatedly = <R>(work: Effect.Effect<void, SqlError, R>, pause: Duration.Input) =>
        lock.check.pipe(Effect.andThen(work), Effect.andThen(Effect.sleep(pause)), Effect.forever)
      const waiting = outboxes().map(({ pause, work }) => repeatedly(work, pause))
      yield* Effect.all([repeatedly(round, pauses.round), repeatedly(rollUp, pauses.rollUp), ...waiting], {
        concurrency: "unbounded"
      })
    })
  )
  return yield* whileOwner.pipe(
    Effect.catch((error: SqlError) =>
      Effect.logWarning("Care for partitions, rollups and sessions failed; trying again", error)
    ),
    Effect.andThen(Effect.sleep(pauses.standBy)),
    Effect.forever
  )
})
