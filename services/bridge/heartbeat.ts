/**
 * Tells, once a second, that this bridge accepts messages: so that time in which none did is known not to be the devices'
 * silence.
 * @module
 */
import { noteAccepting } from "@argusiq/layers/connectivity/IngestGaps.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { makeOutage } from "@argusiq/layers/outage.ts"
import { Effect } from "effect"
import { Ingest } from "./Ingest.ts"

const EVERY = "1 second"
const PATIENCE = "2 seconds"

/** Runs for ever. `isOpen`: whether all ways for messages to come in are open at this moment. */
export const heartbeat = Effect.fnUntraced(function* (isOpen: () => boolean) {
  const ingest = yield* Ingest
  const sql = yield* PipelineSql
  const outage = makeOutage("Nobody can be told that messages are accepted; devices do not count as silent meanwhile")
  return yield* Effect.suspend(() => (isOpen() ? noteAccepting(sql, ingest.acceptedUntil()) : Effect.void)).pipe(
    Effect.timeout(PATIENCE),
    Effect.andThen(outage.ended),
    Effect.catchCause(outage.began),
    Effect.andThen(Effect.sleep(EVERY)),
    Effect.forever
  )
})
