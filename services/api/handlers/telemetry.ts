import { InvalidRequest } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { type HistoryQuery } from "@argusiq/domain/http/telemetry.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { type DeviceId } from "@argusiq/domain/ids.ts"
import { TelemetryHistory } from "@argusiq/layers/telemetry/TelemetryHistory.ts"
import { Clock, Effect } from "effect"
import { HttpMiddleware, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"

const dayMicros = 86_400_000_000

export const keysOf = (metricKey: HistoryQuery["metricKey"]): ReadonlyArray<string> => {
  if (metricKey === undefined) return []
  return typeof metricKey === "string" ? [metricKey] : [...new Set(metricKey)]
}

export const csvType = "text/csv; charset=utf-8; header=present"
/** At the level that costs least: lines of telemetry shrink to a tenth already. */
export const compressedCsv = HttpMiddleware.compression({
  algorithms: ["gzip"],
  compressible: (contentType) => contentType === csvType,
  levels: { gzip: 1 }
})

/** Whether CSV is asked for by its name, and JSON is not preferred to it. */
export const prefersCsv = (accept = ""): boolean => {
  const preference = new Map<string, number>()
  for (const range of accept.toLowerCase().split(",")) {
    const [type = "", ...parameters] = range.split(";").map((part) => part.trim())
    const weight = parameters.find((parameter) => parameter.startsWith("q="))
    if (!preference.has(type)) preference.set(type, weight === undefined ? 1 : Number(weight.slice(2)))
  }
  const csv = preference.get("text/csv") ?? 0
  const json = preference.get("application/json") ?? 0
  const types = [...preference.keys()]
  return csv > json || (csv > 0 && csv === json && types.indexOf("text/csv") < types.indexOf("application/json"))
}

export const telemetry = HttpApiBuilder.group(
  RestApi,
  "telemetry",
  Effect.fnUntraced(function* (handlers) {
    const history = yield* TelemetryHistory
    return handlers.handleAll({
      deviceHistory: ({ params, query, request }) =>
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
          const asked = {
            deviceId: params.id,
            metricKeys,
            from,
            to,
            order: query.order ?? "asc",
            aggregation,
            fn: query.fn ?? "avg",
            cursor: query.cursor
          } as const
          if (prefersCsv(request.headers["accept"])) {
            const lines = yield* history.deviceCsv(tenantId, { ...asked, limit: query.limit })
            return yield* compressedCsv(Effect.succeed(HttpServerResponse.stream(lines, { contentType: csvType })))
          }
          const { count, nextCursor, series } = yield* history.device(tenantId, {
            ...asked,
            limit: query.limit ?? 1_000
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
