/**
 * What assets came to, as the API reads it: history, latest values, health, and the device readings that a preview goes over.
 * @module
 */
import type { Link } from "@argusiq/domain/asset/asset.ts"
import type { HealthContribution } from "@argusiq/domain/asset/asset-reading.ts"
import type { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import type { AssetHealth, AssetLatest } from "@argusiq/domain/http/asset-telemetry.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import type { AssetId, Instant, TenantId } from "@argusiq/domain/ids.ts"
import type { MetricValue, Quality } from "@argusiq/domain/readings.ts"
import { Context, Effect, Layer, Option, Stream } from "effect"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { isoOrNull } from "../registry/deviceRow.ts"
import { type BadCursor, NotRegistered, orUnavailable } from "../registry/refusals.ts"
import { readBuckets } from "../telemetry/bucketQueries.ts"
import { csvHeader, firstFrames, readCsvPage } from "../telemetry/historyCsv.ts"
import { readFrames } from "../telemetry/historyQueries.ts"
import type { History, HistoryRequest } from "../telemetry/TelemetryHistory.ts"

/** `deviceId` is the asset's. */
export type AssetRequest = HistoryRequest

export interface HealthRequest {
  readonly from: Instant
  readonly to: Instant
  readonly limit: number
}

/** What a preview needs to know of an asset. */
export interface PreviewedAsset {
  readonly links: ReadonlyArray<Link>
  readonly profileMapping: Readonly<Record<string, string>>
}

/** A reading of one of the asset's devices. */
export interface DeviceFrame {
  readonly readingId: string
  readonly deviceId: string
  readonly ts: Instant
  readonly receivedAt: Instant
  readonly metrics: Readonly<Record<string, MetricValue>>
  readonly quality: Readonly<Record<string, Quality>> | null
}

type Failing<A, E = never> = Effect.Effect<A, NotRegistered | DatabaseUnavailable | E>

export class AssetHistory extends Context.Service<
  AssetHistory,
  {
    history(tenantId: TenantId, request: AssetRequest): Failing<History, BadCursor>
    /** As `TelemetryHistory.deviceCsv`. */
    csv(
      tenantId: TenantId,
      request: Omit<AssetRequest, "limit"> & { readonly limit: number | undefined }
    ): Failing<Stream.Stream<Uint8Array, BadCursor | DatabaseUnavailable>, BadCursor>
    latest(tenantId: TenantId, assetId: string): Failing<AssetLatest>
    health(tenantId: TenantId, assetId: string, request: HealthRequest): Failing<AssetHealth>
    previewed(tenantId: TenantId, assetId: string): Failing<PreviewedAsset>
    /** The readings of these devices in the order of time, after `after`; whole instants, but for one of more than `limit`. */
    frames(
      tenantId: TenantId,
      deviceIds: ReadonlyArray<string>,
      after: Instant,
      before: Instant,
      limit: number
    ): Effect.Effect<ReadonlyArray<DeviceFrame>, DatabaseUnavailable>
  }
>()("argusiq/layers/asset-state/AssetHistory") {
  static readonly layer = Layer.effect(
    AssetHistory,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)
      const missing = new NotRegistered({ what: "asset" })
      const micros = (column: string) => sql.literal(`(extract(epoch from ${column}) * 1000000)::float8`)

      /** The request with the metrics that it asks for by naming none, where frames alone do not tell them. */
      const resolved = Effect.fnUntraced(function* (request: AssetRequest) {
        const known = yield* sql<{ keys: ReadonlyArray<string> | null }>`
          select array(select jsonb_object_keys(latest.metrics)) as keys
          from assets left join entity_latest latest on latest.entity_id = assets.id
          where assets.id = ${request.deviceId}::uuid`
        if (known[0] === undefined) return yield* missing
        if (request.aggregation === "none" || request.metricKeys.length > 0) return request
        return { ...request, metricKeys: known[0].keys ?? [] }
      })

      const history = Effect.fn("AssetHistory.history")((tenantId: TenantId, request: AssetRequest) =>
        Effect.flatMap(resolved(request), (one) =>
          one.aggregation === "none" ? readFrames(sql, one) : readBuckets(sql, one)
        ).pipe(scoped({ tenantId }), orUnavailable)
      )

      const csv: AssetHistory["Service"]["csv"] = Effect.fn("AssetHistory.csv")(function* (tenantId, request) {
        const inTenant = scoped({ tenantId })
        const remaining = request.limit ?? Number.POSITIVE_INFINITY
        const first = yield* resolved({ ...request, limit: firstFrames }).pipe(
          Effect.flatMap((one) => readCsvPage(sql, one, remaining)),
          inTenant,
          orUnavailable
        )
        const following = Stream.paginate(first, ({ remaining, request }) =>
          request === undefined
            ? Effect.succeed([[], Option.none()] as const)
            : Effect.map(
                readCsvPage(sql, request, remaining).pipe(inTenant, orUnavailable),
                (page) => [[page.text], Option.some(page)] as const
              )
        )
        return Stream.make(csvHeader(request.aggregation) + first.text).pipe(
          Stream.concat(following),
          Stream.filter((text) => text !== ""),
          Stream.map((text): Uint8Array => Buffer.from(text)),
          Stream.buffer({ capacity: 1 })
        )
      })

      interface LatestRow {
        readonly metrics: Readonly<Record<string, MetricValue>> | null
        readonly newest: Instant | null
        readonly older: Readonly<Record<string, Instant>> | null
        readonly quality: Readonly<Record<string, Quality>> | null
        readonly units: Readonly<Record<string, string>> | null
        readonly updating: boolean
        readonly last_telemetry_at: Date | null
        readonly health_score: number | null
      }
      const latest = Effect.fn("AssetHistory.latest")((tenantId: TenantId, assetId: string) =>
        Effect.gen(function* () {
          const [row] = yield* sql<LatestRow>`
            select latest.metrics, latest.older, latest.quality, latest.held is not null as updating,
              ${micros("nullif(latest.newest_ts, '-infinity')")} as newest, status.last_telemetry_at, status.health_score,
              (select jsonb_object_agg(definition ->> 'key', definition ->> 'unit')
                from jsonb_array_elements(version.resolved -> 'metricDefinitions') definition
                where definition ->> 'unit' is not null) as units
            from assets
            join asset_types type on type.id = assets.asset_type_id
            left join asset_type_versions version
              on version.asset_type_id = type.id and version.number = type.published_version
            left join entity_latest latest on latest.entity_id = assets.id
            left join asset_status status on status.asset_id = assets.id
            where assets.id = ${assetId}::uuid`
          if (row === undefined) return yield* missing
          const entries = Object.entries(row.metrics ?? {}).map(([key, value]) => [
            key,
            {
              value,
              timestamp: isoFromMicros(ownOf(row.older, key) ?? row.newest ?? 0),
              quality: ownOf(row.quality, key) ?? ("good" as const),
              unit: key === "health_score" ? "%" : (ownOf(row.units, key) ?? null)
            }
          ])
          return {
            assetId: assetId as AssetId,
            metrics: Object.fromEntries(entries),
            updating: row.updating,
            lastTelemetryAt: isoOrNull(row.last_telemetry_at),
            healthScore: row.health_score
          } satisfies AssetLatest
        }).pipe(scoped({ tenantId }), orUnavailable)
      )

      interface HealthRow {
        readonly ts: number
        readonly score: number
        readonly health: {
          readonly algorithm: string
          readonly version: number
          readonly devices: number
          readonly contributions: ReadonlyArray<HealthContribution>
          readonly inputs?: Readonly<Record<string, MetricValue>>
        } | null
      }
      const health = Effect.fn("AssetHistory.health")((tenantId: TenantId, assetId: string, request: HealthRequest) =>
        Effect.gen(function* () {
          const [status] = yield* sql<{ readonly score: number | null; readonly at: Date | null }>`
            select status.health_score as score, status.health_score_updated_at as at from assets
            left join asset_status status on status.asset_id = assets.id where assets.id = ${assetId}::uuid`
          if (status === undefined) return yield* missing
          // How the score that is shown was made: of the frame it is of.
          const [made] = yield* sql<HealthRow>`
            select ${micros("ts")} as ts, (metrics ->> 'health_score')::float8 as score, metadata -> 'health' as health
            from telemetry_frames where entity_id = ${assetId}::uuid and ts = ${status.at} and not late
              and metadata is not null order by revision desc limit 1`
          const rows = yield* sql<{ readonly ts: number; readonly score: number }>`
            select ${micros("ts")} as ts, (metrics ->> 'health_score')::float8 as score from telemetry_frames
            where entity_id = ${assetId}::uuid and ts >= ${isoFromMicros(request.from)}::timestamptz
              and ts < ${isoFromMicros(request.to)}::timestamptz and jsonb_exists(metrics, 'health_score') and not late
            order by ts desc, reading_id desc limit ${request.limit}`
          const judged = made?.health ?? undefined
          const told = judged?.contributions.flatMap(({ metricKey, value }) =>
            metricKey === undefined || value === undefined ? [] : [[metricKey, value] as const]
          )
          return {
            assetId: assetId as AssetId,
            score: status.score,
            algorithm: judged?.algorithm ?? null,
            version: judged?.version ?? null,
            contributions: judged?.contributions ?? [],
            inputs: judged?.inputs ?? Object.fromEntries(told ?? []),
            devices: judged?.devices ?? 0,
            updatedAt: isoOrNull(status.at),
            history: rows.map(({ score, ts }) => ({ timestamp: isoFromMicros(Math.round(ts)), score }))
          } satisfies AssetHealth
        }).pipe(scoped({ tenantId }), orUnavailable)
      )

      interface LinkRow {
        readonly id: string
        readonly device: string
        readonly from: number
        readonly until: number | null
        readonly metadata: {
          readonly port?: string
          readonly role?: Link["role"]
          readonly metrics_mapping?: Link["metricsMapping"]
        }
      }
      const previewed = Effect.fn("AssetHistory.previewed")((tenantId: TenantId, assetId: string) =>
        Effect.gen(function* () {
          const [asset] = yield* sql<{ readonly mappings: PreviewedAsset["profileMapping"] | null }>`
            select profile.telemetry_mappings as mappings from assets
            left join asset_profiles profile on profile.id = assets.profile_id where assets.id = ${assetId}::uuid`
          if (asset === undefined) return yield* missing
          const rows = yield* sql<LinkRow>`
            select id, source_entity_id as device, ${micros("valid_from")} as from, ${micros("valid_until")} as until, metadata
            from entity_edges where target_entity_id = ${assetId}::uuid and relationship_type = 'MONITORED_BY'`
          return {
            profileMapping: asset.mappings ?? {},
            links: rows.map(({ device, from, id, metadata, until }) => ({
              linkId: id as Link["linkId"],
              deviceId: device as Link["deviceId"],
              assetId: assetId as AssetId,
              tenantId,
              ...(metadata.port !== undefined && { port: metadata.port }),
              role: metadata.role ?? "primary",
              validFrom: from,
              ...(until !== null && { validUntil: until }),
              metricsMapping: metadata.metrics_mapping ?? {}
            }))
          }
        }).pipe(scoped({ tenantId }), orUnavailable)
      )

      const frames: AssetHistory["Service"]["frames"] = Effect.fn("AssetHistory.frames")(
        (tenantId, deviceIds, after, before, limit) =>
          sql<DeviceFrame>`
            select reading_id as "readingId", entity_id as "deviceId", ${micros("ts")} as ts,
              ${micros("received_at")} as "receivedAt", metrics, quality
            from telemetry_frames
            where entity_id = any(${deviceIds}::uuid[]) and ts > ${isoFromMicros(after)}::timestamptz
              and ts < ${isoFromMicros(before)}::timestamptz
            order by ts limit ${limit + 1}`.pipe(
            Effect.map((rows) => {
              if (rows.length <= limit) return rows
              const last = rows.at(-1)!.ts
              const whole = rows.filter(({ ts }) => ts < last)
              return whole.length === 0 ? rows : whole
            }),
            scoped({ tenantId }),
            orUnavailable
          )
      )

      return AssetHistory.of({ history, csv, latest, health, previewed, frames })
    })
  )
}

/** A metric may bear the name of something that every object has. */
const ownOf = <A>(record: Readonly<Record<string, A>> | null, key: string): A | undefined =>
  record !== null && Object.hasOwn(record, key) ? record[key] : undefined
