/**
 * What requests come to that is no change: each route of the server can note it in the audit log (`noteSecurity`).
 * @module
 */
import { CurrentSecurityLog, make } from "@argusiq/layers/audit/SecurityLog.ts"
import { AppSql } from "@argusiq/layers/database/Sql.ts"
import { Effect } from "effect"
import { HttpRouter } from "effect/http"

/** For every route of the server. What waits is written when the server has closed. */
export const securityLog = HttpRouter.middleware(
  Effect.gen(function* () {
    const log = yield* make(yield* AppSql)
    return (handled) => Effect.provideService(handled, CurrentSecurityLog, log)
  }),
  { global: true }
)
