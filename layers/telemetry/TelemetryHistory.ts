/**
 * What was measured, as the API reads it: history as measured or in buckets of time, and the latest values.
 * @module
 */
import { compileDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import { DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import {
  type Aggregation,
  type AggregationFunction,
  type DataPoint,
  type DeviceLatest
} from "@argusiq/domain/http/telemetry.ts"
import { type DeviceId, type Instant, type TenantId } from "@argusiq/domain/ids.ts"
import { Context, Effect, Layer, Option, Result, Schema, Stream } from "effect"
import { BoundedMap } from "../cache/BoundedMap.ts"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { isoOrNull } from "../registry/deviceRow.ts"
import { type BadCursor, NotRegistered, orUnavailable } from "../registry/refusals.ts"
import { readBuckets } from "./bucketQueries.ts"
import { csvHeader, firstFrames, readCsvPage } from "./historyCsv.ts"
import { readFrames } from "./historyQueries.ts"
import { makeLatestRows } from "./latestRows.ts"

/** Instants in epoch microseconds; `from` is included, `to` is not. */
export interface HistoryRequest {
  readonly deviceId: string
  /** None: every metric there is. */
  readonly metricKeys: ReadonlyArray<string>
  readonly from: Instant
  readonly to: Instant
  readonly order: "asc" | "desc"
  readonly aggregation: Aggregation
  readonly fn: AggregationFunction
  /** Readings or buckets. */
  readonly limit: number
  readonly cursor: string | undefined
}
export interface History {
  /** One for each metric asked for, also where nothing was measured. */
  readonly series: ReadonlyArray<{ readonly metricKey: string; readonly data: ReadonlyArray<DataPoint> }>
  readonly count: number
  readonly nextCursor: string | null
}

export class TelemetryHistory extends Context.Service<
  TelemetryHistory,
  {
    device(
      tenantId: TenantId,
      request: HistoryRequest
    ): Effect.Effect<History, NotRegistered | BadCursor | DatabaseUnavailable>
    /**
     * The same without end unless `limit` is given, as lines of CSV in UTF-8, page by page: whoever reads slowly holds no
     * connection. Fails before the stream begins for what is wrong with the request.
     */
    deviceCsv(
      tenantId: TenantId,
      request: Omit<HistoryRequest, "limit"> & { readonly limit: number | undefined }
    ): Effect.Effect<
      Stream.Stream<Uint8Array, BadCursor | DatabaseUnavailable>,
      NotRegistered | BadCursor | DatabaseUnavailable
    >
    deviceLatest(tenantId: TenantId, deviceId: string): Effect.Effect<DeviceLatest, NotRegistered | DatabaseUnavailable>
  }
>()("argusiq/layers/telemetry/TelemetryHistory") {
  static readonly layer = Layer.effect(
    TelemetryHistory,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)
      const latestRow = makeLatestRows(sql)

      /** The request with the metrics that it asks for by naming none, where frames alone do not tell them. */
      const resolved = Effect.fnUntraced(function* (request: HistoryRequest) {
        const known = yield* sql<{ keys: ReadonlyArray<string> | null }>`
          select array(select jsonb_object_keys(latest.metrics)) as keys
          from devices left join entity_latest latest on latest.entity_id = devices.id
          where devices.id = ${request.deviceId}::uuid`
        if (known[0] === undefined) return yield* new NotRegistered({ what: "device" })
        if (request.aggregation === "none" || request.metricKeys.length > 0) return request
        return { ...request, metricKeys: known[0].keys ?? [] }
      })

      const device = Effect.fn("TelemetryHistory.device")((tenantId: TenantId, request: HistoryRequest) =>
        Effect.flatMap(resolved(request), (request) =>
          request.aggregation === "none" ? readFrames(sql, request) : readBuckets(sql, request)
        ).pipe(scoped({ tenantId }), orUnavailable)
      )

      const deviceCsv: TelemetryHistory["Service"]["deviceCsv"] = Effect.fn("TelemetryHistory.deviceCsv")(
        function* (tenantId, request) {
          const readPage = (request: HistoryRequest, remaining: number) =>
            readCsvPage(sql, request, remaining).pipe(scoped({ tenantId }), orUnavailable)
          const remaining = request.limit ?? Number.POSITIVE_INFINITY
          const first = yield* resolved({ ...request, limit: firstFrames }).pipe(
            Effect.flatMap((request) => readCsvPage(sql, request, remaining)),
            scoped({ tenantId }),
            orUnavailable
          )
          const following = Stream.paginate(first, ({ remaining, request }) =>
            request === undefined
              ? Effect.succeed([[], Option.none()] as const)
              : Effect.map(readPage(request, remaining), (page) => [[page.text], Option.some(page)] as const)
          )
          return Stream.make(csvHeader(request.aggregation) + first.text).pipe(
            Stream.concat(following),
            Stream.filter((text) => text !== ""),
            Stream.map((text): Uint8Array => Buffer.from(text)),
            Stream.buffer({ capacity: 1 }) // the next page is read while this one is on its way
          )
        }
      )

      // Published versions never change, so their units are looked up once.
      const unitsOf = new BoundedMap<ReadonlyMap<string, string>>(10_000)
      const decodeConfig = Schema.decodeUnknownResult(DeviceTypeConfig)
      const units = Effect.fnUntraced(function* (tenantId: TenantId, deviceTypeId: string, version: number | null) {
        if (version === null) return undefined
        const key = `${deviceTypeId} ${version}`
        const known = unitsOf.get(key)
        if (known !== undefined) return known
        const [row] = yield* sql<{ config: unknown }>`select config from device_type_versions
          where device_type_id = ${deviceTypeId}::uuid and number = ${version}`.pipe(
          scoped({ tenantId }),
          orUnavailable
        )
        const compiled = Result.flatMap(decodeConfig(row?.config), compileDeviceType)
        const found: ReadonlyMap<string, string> = Result.isSuccess(compiled) ? compiled.success.units : new Map()
        unitsOf.set(key, found)
        return found
      })

      const deviceLatest = Effect.fn("TelemetryHistory.deviceLatest")((tenantId: TenantId, deviceId: string) =>
        Effect.gen(function* () {
          const row = yield* latestRow(tenantId, deviceId)
          if (row === undefined) return yield* new NotRegistered({ what: "device" })
          const unitOf = yield* units(tenantId, row.device_type_id, row.published_version)
          return {
            deviceId: deviceId as DeviceId,
            metrics: Object.fromEntries(
              Object.entries(row.metrics ?? {}).map(([key, value]) => [
                key,
                {
                  value,
                  timestamp: isoFromMicros(ownOf(row.older, key) ?? row.newest ?? 0),
                  quality: ownOf(row.quality, key) ?? ("good" as const),
                  unit: unitOf?.get(key) ?? null
                }
              ])
            ),
            lastSeen: isoOrNull(row.last_seen_at),
            status: row.connectivity ?? ("unknown" as const)
          }
        })
      )

      return TelemetryHistory.of({ device, deviceCsv, deviceLatest })
    })
  )
}

/** A metric may bear the name of something that every object has. */
const ownOf = <A>(record: Readonly<Record<string, A>> | null, key: string): A | undefined =>
  record !== null && Object.hasOwn(record, key) ? record[key] : undefined
