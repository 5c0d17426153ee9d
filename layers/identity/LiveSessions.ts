/**
 * Which access tokens are still in force, known in memory: what sessions have ended, or had their tokens called back, within
 * the life of a token. PostgreSQL says so; it is asked every 250 ms, and at once after this process has changed something, so
 * that a token is refused here before the change is answered and in other processes within half a second.
 *
 * While PostgreSQL is away nothing can end a session. What had ended before stays refused, all other tokens go on until they
 * expire, 15 minutes at most.
 * @module
 */
import { Clock, Context, Effect, Layer, Schedule } from "effect"
import { PipelineSql } from "../database/Sql.ts"
import { makeOutage } from "../outage.ts"
import { accessTokenSeconds } from "./AccessTokens.ts"

const CHECK_EVERY = "250 millis"
const CHECK_TIMEOUT = "2 seconds"
/** A token's life, and what clocks may differ. */
const KEPT_SECONDS = accessTokenSeconds + 120

interface CalledBack {
  /** Tokens of an earlier generation are refused; of an ended session, all. */
  readonly leastGeneration: number
  readonly notedAtMillis: number
}

export class LiveSessions extends Context.Service<
  LiveSessions,
  {
    /** Whether a token of this session and generation is in force, as far as its signature and dates allow. Never waits. */
    isLive(sessionId: string, generation: number): boolean
    /** Afterwards, what was committed before is known. It is known a moment later where PostgreSQL does not answer. */
    readonly catchUp: Effect.Effect<void>
  }
>()("argusiq/layers/identity/LiveSessions") {
  static readonly layer = Layer.effect(
    LiveSessions,
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const clock = yield* Clock.Clock
      const calledBack = new Map<string, CalledBack>()
      let known = 0

      const forgetExpired = (nowMillis: number) => {
        for (const [id, { notedAtMillis }] of calledBack) {
          if (nowMillis - notedAtMillis < KEPT_SECONDS * 1_000) return // in the order of their notes
          calledBack.delete(id)
        }
      }
      const note = (id: string, leastGeneration: number, notedAtMillis: number) => {
        const before = calledBack.get(id)?.leastGeneration ?? 0
        calledBack.delete(id)
        calledBack.set(id, { leastGeneration: Math.max(before, leastGeneration), notedAtMillis })
      }

      const changesAfter = (change: number) =>
        sql<{ number: number; id: string | null; generation: number; ended: boolean; change: number }>`
          select sequence.number::float8 as number, session.id, session.generation, session.ended_at is not null as ended,
            session.change::float8 as change
          from change_sequence sequence left join sessions session
            on session.change > ${change} and session.changed_at > now() - make_interval(secs => ${KEPT_SECONDS})
          where sequence.scope = 'sessions' order by session.change`

      const check = Effect.gen(function* () {
        let rows = yield* changesAfter(known)
        const number = rows[0]?.number ?? 0
        // Another database, or an older state of this one, was put in place.
        if (number < known) rows = yield* changesAfter(0)
        const nowMillis = clock.currentTimeMillisUnsafe()
        forgetExpired(nowMillis)
        for (const { ended, generation, id } of rows) {
          if (id !== null) note(id, ended ? Number.POSITIVE_INFINITY : generation, nowMillis)
        }
        known = number < known ? number : Math.max(known, ...rows.map(({ change }) => change ?? 0))
      }).pipe(Effect.timeout(CHECK_TIMEOUT))

      const outage = makeOutage(
        "Ended sessions cannot be read: nobody can sign out or be shut out, tokens go on until they expire"
      )
      const checked = check.pipe(Effect.andThen(outage.ended))
      // Before the first answer a token of an ended session would count.
      yield* checked.pipe(Effect.tapCause(outage.began), Effect.retry(Schedule.spaced(CHECK_EVERY)))
      yield* checked.pipe(
        Effect.catchCause(outage.began),
        Effect.andThen(Effect.sleep(CHECK_EVERY)),
        Effect.forever,
        Effect.forkScoped
      )
      return LiveSessions.of({
        isLive: (sessionId, generation) => generation >= (calledBack.get(sessionId)?.leastGeneration ?? 0),
        catchUp: Effect.ignoreCause(check)
      })
    })
  )
}
