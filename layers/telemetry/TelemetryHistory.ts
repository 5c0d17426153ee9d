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
import { Context, Effect, Layer, Result, Schema } from "effect"
import { BoundedMap } from "../cache/BoundedMap.ts"
import { inTenant } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { isoOrNull } from "../registry/deviceRow.ts"
import { type BadCursor, NotRegistered, orUnavailable } from "../registry/refusals.ts"
import { readBuckets, readFrames } from "./historyQueries.ts"

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
    deviceLatest(tenantId: TenantId, deviceId: string): Effect.Effect<DeviceLatest, NotRegistered | DatabaseUnavailable>
  }
>()("argusiq/layers/telemetry/TelemetryHistory") {
  static readonly layer = Layer.effect(
    TelemetryHistory,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped =
        (tenantId: TenantId) =>
        <A, E>(effect: Effect.Effect<A, E>) =>
          Effect.provideService(inTenant(tenantId)(effect), AppSql, sql)

      const device = Effect.fn("TelemetryHistory.device")((tenantId: TenantId, request: HistoryRequest) =>
        Effect.gen(function* () {
          const known = yield* sql<{ keys: ReadonlyArray<string> | null }>`
            select array(select jsonb_object_keys(latest.metrics)) as keys
            from devices left join entity_latest latest on latest.entity_id = devices.id
            where devices.id = ${request.deviceId}::uuid`
          if (known[0] === undefined) return yield* new NotRegistered({ what: "device" })
          if (request.aggregation === "none") return yield* readFrames(sql, request)
          const metricKeys = request.metricKeys.length > 0 ? request.metricKeys : (known[0].keys ?? [])
          return yield* readBuckets(sql, { ...request, metricKeys })
        }).pipe(scoped(tenantId), orUnavailable)
      )

      // Published versions never change, so their units are looked up once.
      const unitsOf = new BoundedMap<ReadonlyMap<string, string>>(10_000)
      const decodeConfig = Schema.decodeUnknownResult(DeviceTypeConfig)
      const units = Effect.fnUntraced(function* (deviceTypeId: string, version: number | null) {
        if (version === null) return undefined
        const key = `${deviceTypeId} ${version}`
        const known = unitsOf.get(key)
        if (known !== undefined) return known
        const [row] = yield* sql<{ config: unknown }>`select config from device_type_versions
          where device_type_id = ${deviceTypeId}::uuid and number = ${version}`
        const compiled = Result.flatMap(decodeConfig(row?.config), compileDeviceType)
        const found: ReadonlyMap<string, string> = Result.isSuccess(compiled) ? compiled.success.units : new Map()
        unitsOf.set(key, found)
        return found
      })

      interface LatestRow {
        readonly device_type_id: string
        readonly published_version: number | null
        readonly metrics: Readonly<Record<string, StoredLatest>> | null
        readonly connectivity: DeviceLatest["status"] | null
        readonly last_seen_at: Date | null
      }
      const deviceLatest = Effect.fn("TelemetryHistory.deviceLatest")((tenantId: TenantId, deviceId: string) =>
        Effect.gen(function* () {
          const [row] = yield* sql<LatestRow>`
            select devices.device_type_id, type.published_version, latest.metrics, state.connectivity, state.last_seen_at
            from devices
            left join device_types type on type.id = devices.device_type_id
            left join entity_latest latest on latest.entity_id = devices.id
            left join device_status state on state.device_id = devices.id
            where devices.id = ${deviceId}::uuid`
          if (row === undefined) return yield* new NotRegistered({ what: "device" })
          const unitOf = yield* units(row.device_type_id, row.published_version)
          return {
            deviceId: deviceId as DeviceId,
            metrics: Object.fromEntries(
              Object.entries(row.metrics ?? {}).map(([key, { q, ts, v }]) => [
                key,
                {
                  value: v,
                  timestamp: isoFromMicros(ts),
                  quality: q ?? ("good" as const),
                  unit: unitOf?.get(key) ?? null
                }
              ])
            ),
            lastSeen: isoOrNull(row.last_seen_at),
            status: row.connectivity ?? ("unknown" as const)
          }
        }).pipe(scoped(tenantId), orUnavailable)
      )

      return TelemetryHistory.of({ device, deviceLatest })
    })
  )
}

/** As `entity_latest` keeps a metric; `ts` in epoch microseconds. */
interface StoredLatest {
  readonly v: DataPoint["value"]
  readonly ts: Instant
  readonly q?: "uncertain" | "bad"
}
