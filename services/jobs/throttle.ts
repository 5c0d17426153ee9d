/**
 * How fast jobs may go, all together: so many messages per second, and only while little live traffic waits.
 * @module
 */
import { type BusUnavailable, type UnknownTopic } from "@argusiq/domain/errors.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { backlog } from "@argusiq/layers/jobs/LiveTraffic.ts"
import { Clock, Config, Effect } from "effect"
import { type SqlError } from "effect/sql/SqlError"

/** Messages per second that jobs go through at most, all together. */
export const perSecond = Config.Number("JOBS_MESSAGES_PER_SECOND").pipe(
  Config.withDefault(10_000),
  Config.map((value) => Math.max(1, value))
)

/** The groups that a message passes until it is stored. */
const storing = [Groups.dispatcher, Groups.chunker, Groups.demux, Groups.normalizer, Groups.telemetryWriter]
/**
 * Records waiting for those groups, together, from which on a job waits too. What a replay publishes waits there as well: at
 * 8,000 messages per second this many are a tenth of a second for whoever comes behind them.
 */
const MOST_WAITING = 800
/** The same for each of the other groups, which let records gather for a while before they take them. */
const MOST_GATHERED = 10_000

const isBusy = (waiting: ReadonlyMap<string, number>): boolean =>
  storing.reduce((sum, group) => sum + (waiting.get(group) ?? 0), 0) > MOST_WAITING ||
  waiting.values().some((records) => records > MOST_GATHERED)

const LOOK_AGAIN = 20
/** What has waited for so long does not wait because of the job: it goes on, if slowly. */
const PATIENCE = 5_000

export interface Throttle {
  /** Completes when a job may go through so many messages more. */
  readonly take: (messages: number) => Effect.Effect<void, BusUnavailable | UnknownTopic | SqlError>
}

export const makeThrottle = Effect.gen(function* () {
  const bus = yield* Bus
  const sql = yield* PipelineSql
  const rate = yield* perSecond
  let free = 0 // when the next messages may go, in epoch milliseconds
  const take = Effect.fnUntraced(function* (messages: number) {
    for (let waited = 0; waited < PATIENCE && isBusy(yield* backlog(bus, sql)); waited += LOOK_AGAIN) {
      yield* Effect.sleep(LOOK_AGAIN)
    }
    const now = yield* Clock.currentTimeMillis
    const turn = Math.max(free, now)
    free = turn + (messages / rate) * 1_000
    if (turn > now) yield* Effect.sleep(turn - now)
  })
  return { take } satisfies Throttle
})
