import { previewOf } from "@argusiq/domain/asset/asset-preview.ts"
import { assetTypeFaults, tryReadings } from "@argusiq/domain/asset/asset-type-trial.ts"
import type { AssetTypeConfig } from "@argusiq/domain/asset/asset-type.ts"
import { inherit } from "@argusiq/domain/asset/type-inheritance.ts"
import { InvalidRequest, Unprocessable } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import type { AssetId, Instant } from "@argusiq/domain/ids.ts"
import { AssetHistory } from "@argusiq/layers/asset-state/AssetHistory.ts"
import { AssetTypes } from "@argusiq/layers/registry/AssetTypes.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { withExpressions } from "@argusiq/layers/sandbox/withExpressions.ts"
import { Clock, Effect, Option, Result, Stream } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { compressedCsv, csvType, keysOf, prefersCsv } from "./telemetry.ts"

const dayMicros = 86_400_000_000
const MAX_PREVIEW_MICROS = 31 * dayMicros
/** Device readings that a preview goes through. */
const MAX_PREVIEWED = 100_000
const PREVIEWED_AT_ONCE = 2_000

interface Period {
  readonly startTime?: Instant
  readonly endTime?: Instant
}

/** A day back from the present millisecond, which belongs to it, unless said otherwise. */
const periodOf = Effect.fnUntraced(function* ({ endTime, startTime }: Period, where: string) {
  const to = endTime ?? ((yield* Clock.currentTimeMillis) + 1) * 1_000
  const from = startTime ?? to - dayMicros
  if (from < to) return { from, to }
  return yield* new InvalidRequest({ errors: [{ path: `${where}endTime`, message: "must be after startTime" }] })
})

export const assetTelemetry = HttpApiBuilder.group(
  RestApi,
  "assetTelemetry",
  Effect.fnUntraced(function* (handlers) {
    const assets = yield* AssetHistory
    const types = yield* AssetTypes
    const sandbox = yield* Sandbox

    /** The configuration given, else the draft, else what is published; with what it inherits, and without faults. */
    const configOf = Effect.fnUntraced(function* (assetTypeId: string, given: AssetTypeConfig | undefined) {
      const caller = yield* Principal
      const { config, draft } = yield* types.telemetryConfig(caller, assetTypeId)
      const own = given ?? draft ?? config
      if (own === null) {
        return yield* new Unprocessable({ detail: "The type has no configuration yet: give one, or write a draft." })
      }
      const { parentTypeId } = yield* types.get(caller, assetTypeId)
      const parent = parentTypeId === null ? null : (yield* types.telemetryConfig(caller, parentTypeId)).resolved
      const whole = inherit(parent ?? undefined, own)
      const faults = assetTypeFaults(whole)
      if (faults.length === 0) return whole
      const errors = faults.map(({ message, path }) => ({ path: `config.${path}`, message }))
      return yield* new Unprocessable({ detail: "The configuration would not work.", errors })
    })
    return handlers.handleAll({
      assetHistory: ({ params, query, request }) =>
        Effect.gen(function* () {
          const { tenantId } = yield* Principal
          const { from, to } = yield* periodOf(query, "query.")
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
            const lines = yield* assets.csv(tenantId, { ...asked, limit: query.limit })
            return yield* compressedCsv(Effect.succeed(HttpServerResponse.stream(lines, { contentType: csvType })))
          }
          const found = yield* assets.history(tenantId, { ...asked, limit: query.limit ?? 1_000 })
          const { count, nextCursor, series } = found
          const page = { assetId: params.id as AssetId, aggregation, count, nextCursor }
          const [single] = series
          return metricKeys.length === 1 && single !== undefined ? { ...page, ...single } : { ...page, series }
        }).pipe(orProblem),
      assetLatest: ({ params }) =>
        Effect.flatMap(Principal, ({ tenantId }) => assets.latest(tenantId, params.id)).pipe(orProblem),
      assetHealth: ({ params, query }) =>
        Effect.gen(function* () {
          const { tenantId } = yield* Principal
          const period = yield* periodOf(query, "query.")
          return yield* assets.health(tenantId, params.id, { ...period, limit: query.limit ?? 1_000 })
        }).pipe(orProblem),
      tryTelemetryConfig: ({ params, payload }) =>
        Effect.gen(function* () {
          const config = yield* configOf(params.id, payload.config)
          const now = (yield* Clock.currentTimeMillis) * 1_000
          const readings = payload.readings
            .map(({ timestamp, ...reading }) => ({ ...reading, ts: timestamp ?? now }))
            .toSorted((left, right) => left.ts - right.ts)
          const { linkMapping = {}, profileMapping = {} } = payload
          const steps = yield* withExpressions(sandbox, (evaluate) =>
            tryReadings(config, readings, { linkMapping, profileMapping }, evaluate)
          )
          const tried = Result.getOrElse(steps, () => [])
          return { steps: tried.map((step, index) => ({ ...step, timestamp: isoFromMicros(readings[index]!.ts) })) }
        }).pipe(orProblem),
      previewTelemetryConfig: ({ params, payload }) =>
        Effect.gen(function* () {
          const { tenantId } = yield* Principal
          const { from, to } = yield* periodOf(payload, "payload.")
          if (to - from > MAX_PREVIEW_MICROS) {
            const message = "must be at most 31 days after startTime"
            return yield* new InvalidRequest({ errors: [{ path: "payload.endTime", message }] })
          }
          const config = yield* configOf(params.id, payload.config)
          const { links, profileMapping } = yield* assets.previewed(tenantId, payload.assetId)
          const preview = previewOf(config, links, profileMapping)
          const devices = [...new Set(links.map(({ deviceId }) => deviceId))]
          const begin = { state: preview.initial, after: from - preview.warmUp - 1, left: MAX_PREVIEWED }
          const pages = Stream.paginate(begin, ({ after, left, state }) =>
            Effect.gen(function* () {
              const page = yield* assets.frames(tenantId, devices, after, to, Math.min(left, PREVIEWED_AT_ONCE))
              if (page.length === 0) return [[], Option.none()] as const
              const next = yield* withExpressions(sandbox, (evaluate) => preview.add(state, page, evaluate))
              const lines = [...next.told.values()]
                .filter(({ ts }) => ts >= from)
                .map(({ health, metrics, quality = {}, ts }) =>
                  JSON.stringify({ timestamp: isoFromMicros(ts), metrics, quality, health: health ?? null })
                )
              const rest = left - page.length
              if (rest > 0) {
                return [lines, Option.some({ state: next.state, after: page.at(-1)!.ts, left: rest })] as const
              }
              return [[...lines, `{"truncated":true}`], Option.none()] as const
            })
          )
          const bytes = Stream.map(pages, (line): Uint8Array => Buffer.from(`${line}\n`))
          return HttpServerResponse.stream(bytes, { contentType: "application/x-ndjson" })
        }).pipe(orProblem)
    })
  })
)
