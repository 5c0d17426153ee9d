import { InvalidRequest } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { type HistoryQuery } from "@argusiq/domain/http/telemetry.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { type DeviceId } from "@argusiq/domain/ids.ts"
import { TelemetryHistory } from "@argusiq/layers/telemetry/TelemetryHistory.ts"
import { Clock, Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"

const dayMicros = 86_400_000_000

const keysOf = (metricKey: HistoryQuery["metricKey"]): ReadonlyArray<string> => {
  if (metricKey === undefined) return []
  return typeof metricKey === "string" ? [metricKey] : [...new Set(metricKey)]
}

export const telemetry = HttpApiBuilder.group(
  RestApi,
  "telemetry",
  Effect.fnUntraced(function* (handlers) {
    const history = yield* TelemetryHistory
    return handlers.handleAll({
      deviceHistory: ({ params, query }) =>
        Effect.gen(function* () {
          const { tenantId } = yield* Principal
          // The present millisecond belongs to it: what was just stored is found.
          const now = ((yield* Clock.currentTimeMillis) + 1) * 1_000
          const to = query.endTime ?? now
          const from = query.startTime ?? to - dayMicros
          if (from >= to) {
            const errors = [{ path: "query.endTime", message: "must be after startTime" }]
            return yield* new InvalidRequest({ errors })
          }
          const metricKeys = keysOf(query.metricKey)
          const aggregation = query.aggregation ?? "none"
          const { count, nextCursor, series } = yield* history.device(tenantId, {
            deviceId: params.id,
            metricKeys,
            from,
            to,
            order: query.order ?? "asc",
            aggregation,
            fn: query.fn ?? "avg",
            limit: query.limit ?? 1_000,
            cursor: query.cursor
          })
          const page = { deviceId: params.id as DeviceId, aggregation, count, nextCursor }
          const [single] = series
          return metricKeys.length === 1 && single !== undefined ? { ...page, ...single } : { ...page, series }
        }).pipe(orProblem),
      deviceLatest: ({ params }) =>
        Effect.flatMap(Principal, ({ tenantId }) => history.deviceLatest(tenantId, params.id)).pipe(orProblem)
    })
  })
)
