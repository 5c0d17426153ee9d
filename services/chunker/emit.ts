/**
 * Publishing what claimed groups come to: wholes, or their chunks as dead letters.
 * @module
 */
import { emitted } from "@argusiq/domain/chunks.ts"
import { type Retryable } from "@argusiq/domain/errors.ts"
import { type BusRecord } from "@argusiq/layers/bus/Bus.ts"
import { type Outcome } from "@argusiq/layers/bus/Consumer.ts"
import { makePauses } from "@argusiq/layers/bus/pauses.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { stampOf, typesOfVersions } from "@argusiq/layers/profiles/stampedVersions.ts"
import { Chunks } from "@argusiq/layers/telemetry/Chunks.ts"
import { type TransactionAdvance, Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { Effect, Metric, Result } from "effect"
import { advanceOf } from "./advanceOf.ts"
import { Failpoints } from "./Failpoints.ts"
import * as metrics from "./metrics.ts"
import { ENTRY_BYTES } from "./readChunk.ts"
import { type WaitingGroups } from "./WaitingGroups.ts"
import { wholeOf } from "./wholeOf.ts"

/** Payloads read at a time. */
const EMITTED_BYTES = 16 * 1_048_576

/** Some of the claimed groups at a time; asks for a tick at once where there are more. */
export const makeEmit = Effect.gen(function* () {
  const chunks = yield* Chunks
  const profiles = yield* Profiles
  const transactions = yield* Transactions
  const reach = yield* Failpoints

  return Effect.fnUntraced(function* (waiting: WaitingGroups): Effect.fn.Return<Outcome, Retryable> {
    const claimed = waiting.claimed(EMITTED_BYTES)
    const groups = claimed.map(({ group }) => group)
    const kept = yield* chunks.read(groups)
    const types = yield* typesOfVersions(
      profiles,
      kept.flatMap((rows) => rows.map(({ record }) => stampOf(record)))
    )
    const publish: Array<BusRecord> = []
    const deadLetters: Array<Outcome["deadLetters"][number]> = []
    const failures: Array<TransactionAdvance> = []
    const pause = makePauses()
    for (const [index, one] of claimed.entries()) {
      const whole = wholeOf(one.group, kept[index]!, types)
      if (Result.isSuccess(whole)) {
        publish.push(whole.success)
      } else {
        const error = whole.failure
        if (one.group.state === "complete") failures.push({ ...advanceOf(one), status: "failed", error: error.message })
        for (const { record } of kept[index]!) deadLetters.push({ record, error })
      }
      yield* pause(one.group.bytes / ENTRY_BYTES)
    }
    reach(publish.length > 0 ? "publishing" : "burying")
    return {
      publish,
      deadLetters,
      store: Effect.gen(function* () {
        reach(publish.length > 0 ? "published" : "buried")
        yield* transactions.advance(failures)
        yield* chunks.emit(groups)
        yield* Metric.update(metrics.reassembled, publish.length)
      }),
      stored: () => {
        for (const { group, tenantId } of claimed) waiting.put({ tenantId, group: emitted(group, group.expiresAt) })
        reach(publish.length > 0 ? "emitted" : "ended")
      },
      tickAtOnce: claimed.length < waiting.claimedGroups
    }
  })
})
