/**
 * Giving up messages whose chunks do not come.
 * @module
 */
import { type ChunkGroup, findExpired } from "@argusiq/domain/chunks.ts"
import { afterSilence } from "@argusiq/domain/connection-status.ts"
import { type Retryable } from "@argusiq/domain/errors.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { type Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { type Acceptance, readAcceptance } from "@argusiq/layers/connectivity/IngestGaps.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Chunks } from "@argusiq/layers/telemetry/Chunks.ts"
import { Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { Effect, Metric } from "effect"
import { advanceOf } from "./advanceOf.ts"
import { Failpoints } from "./Failpoints.ts"
import * as metrics from "./metrics.ts"
import { type WaitingGroups } from "./WaitingGroups.ts"

/** Within a group's wait, times in which nothing was accepted are looked for so far back. */
const LONGEST_WAIT: Instant = 3_600_000_000

/**
 * Whether a group has waited long enough, not counting when the platform accepted nothing; what lies after `acceptedUntil` is
 * not known yet. A replayed group has begun long ago: its past does not count.
 */
const overSilences = ({ acceptedUntil, gaps }: Acceptance, partitionTime: Instant) => {
  const now = Math.min(partitionTime, acceptedUntil)
  return ({ expiresAt, startedAt }: ChunkGroup): boolean => {
    const from = Math.max(startedAt, expiresAt - LONGEST_WAIT)
    return afterSilence(from, expiresAt - from, gaps) <= now
  }
}

/** Claims the groups whose time is over as failed; undefined where there are none. */
export const makeExpire = Effect.gen(function* () {
  const sql = yield* PipelineSql
  const chunks = yield* Chunks
  const transactions = yield* Transactions
  const reach = yield* Failpoints

  return Effect.fnUntraced(function* (
    waiting: WaitingGroups,
    partitionTime: Instant
  ): Effect.fn.Return<Outcome | undefined, Retryable> {
    const candidates = findExpired(waiting.openGroups(), partitionTime)
    if (candidates.length === 0) return undefined
    const isOver = overSilences(yield* readAcceptance(sql), partitionTime)
    const expired = candidates
      .filter(({ group }) => isOver(group))
      .map((one) => ({ ...one, tenantId: waiting.tenantOf(one.group)! }))
    if (expired.length === 0) return undefined
    return {
      publish: [],
      deadLetters: [],
      store: Effect.gen(function* () {
        yield* transactions.advance(
          expired.map((one) => ({
            ...advanceOf(one),
            status: "failed",
            error: one.error.message,
            missing: one.missing
          }))
        )
        yield* chunks.claim(expired.map(({ group }) => group))
        yield* chunks.tellTimeouts(expired)
        yield* Metric.update(metrics.timeouts, expired.length)
        reach("expiring")
      }),
      stored: () => {
        for (const { group, tenantId } of expired) waiting.put({ group, tenantId })
        reach("expired")
      },
      tickAtOnce: true
    }
  })
})
