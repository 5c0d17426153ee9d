import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { AuditLog } from "@argusiq/layers/audit/AuditLog.ts"
import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { compressedCsv, csvType, prefersCsv } from "./telemetry.ts"

export const audit = HttpApiBuilder.group(
  RestApi,
  "audit",
  Effect.fnUntraced(function* (handlers) {
    const log = yield* AuditLog
    return handlers.handleAll({
      list: ({ query, request }) =>
        Effect.gen(function* () {
          const reader = yield* Principal
          if (!prefersCsv(request.headers["accept"])) return yield* log.list(reader, query)
          const lines = yield* log.csv(reader, query)
          return yield* compressedCsv(Effect.succeed(HttpServerResponse.stream(lines, { contentType: csvType })))
        }).pipe(orProblem)
    })
  })
)
