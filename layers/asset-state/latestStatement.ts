/**
 * What assets show at present: the latest value of each metric, their health, and when they were last heard of.
 * @module
 */
import type { AssetOutput } from "@argusiq/domain/asset/asset-fold.ts"
import type { NormalizedMessage, Reading } from "@argusiq/domain/readings.ts"
import type { PgTypes } from "@effect/sql-pg"
import { bigintegers, instants, integers, texts, uuids } from "../telemetry/columns.ts"
import { correctedLatest } from "../telemetry/latestStatement.ts"
import { devicesOf, type Frame } from "../telemetry/LatestReadings.ts"
import { frameColumns, frameInsertion, jsonText, optionalJsonText } from "./frameStatement.ts"

/** Of an asset at one instant. */
export interface Shown {
  readonly assetId: string
  readonly tenantId: string
  readonly output: Pick<AssetOutput, "assetTypeVersion" | "metrics" | "quality" | "receivedAt" | "ts"> & {
    readonly health?: { readonly score: number; readonly algorithm: string }
  }
}

/**
 * In the order of the assets' ids: all who write several take their locks in this order. Of an asset that is gone, no health.
 * Entities name their frames by their places: what they hold is sent and parsed once. Materialized, as they are joined with them
 * once: joined with two tables at a time by an estimate of ten rows, that costs the square of the batch.
 */
const shown = (from: number) => {
  const [newest, keysHash, metrics, quality, older, score, computedBy] = Array.from(
    { length: 7 },
    (_, at) => `$${from + at}`
  )
  return `
entity as materialized (
  select frame.entity_id, frame.tenant_id, frame.ts, coalesce(entity.metrics::jsonb, frame.metrics) as metrics,
    case when entity.metrics is null then frame.quality else entity.quality::jsonb end as quality,
    entity.older::jsonb as older, keys_hash, score::float8 as score, computed_by
  from unnest(${newest}::int[], ${keysHash}::bigint[], ${metrics}::text[], ${quality}::text[], ${older}::text[],
      ${score}::text[], ${computedBy}::text[])
    as entity (newest, keys_hash, metrics, quality, older, score, computed_by)
  join frame on frame.place = entity.newest
), status as (
  insert into asset_status as held (asset_id, tenant_id, health_score, health_score_updated_at, health_score_computed_by,
    last_telemetry_at)
  select entity_id, entity.tenant_id, score, case when computed_by is not null then ts end, computed_by, ts
  from entity join assets on assets.id = entity_id and assets.tenant_id = entity.tenant_id
  order by entity_id
  on conflict (asset_id) do update set
    (health_score, health_score_updated_at, health_score_computed_by, last_telemetry_at) =
    (excluded.health_score, excluded.health_score_updated_at, excluded.health_score_computed_by, excluded.last_telemetry_at)
  where held.last_telemetry_at is null or excluded.last_telemetry_at >= held.last_telemetry_at
)
insert into entity_latest (entity_id, entity_type, tenant_id, metrics, newest_ts, older, quality, keys_hash, updated_at)
select entity_id, 'asset', tenant_id, metrics, ts, older, quality, keys_hash, now() from entity order by entity_id
on conflict (entity_id) do update set
  (metrics, newest_ts, older, quality, keys_hash, updated_at) = (${correctedLatest})`
}

/** Frames, and what is shown by them. */
export const storedStatement = `
with frame as materialized (${frameColumns}
), stored as (${frameInsertion}
), ${shown(15)}`

/** What is shown, without frames. */
export const shownStatement = `
with frame as materialized (
  select tenant_id, entity_id, ts, metrics::jsonb as metrics, quality::jsonb as quality, place
  from unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::text[], $5::text[]) with ordinality
    as frame (tenant_id, entity_id, ts, metrics, quality, place)
), ${shown(6)}`

const asFrame = ({ assetId, output }: Shown): Frame => ({
  message: { receivedAt: output.receivedAt } as NormalizedMessage,
  reading: {
    deviceId: assetId,
    ts: output.ts,
    metrics: output.metrics,
    ...(output.quality !== undefined && { quality: output.quality })
  } as Reading
})

const computedBy = ({ output: { assetTypeVersion, health } }: Shown) =>
  health === undefined ? null : `${health.algorithm}, version ${assetTypeVersion}`

/** The columns of `entity` for frames that stand in this order, from the first on. */
export const entityParameters = (shown: ReadonlyArray<Shown>): ReadonlyArray<PgTypes.Parameter> => {
  const latest = devicesOf(shown.map(asFrame)).flatMap(({ latest }) => latest ?? [])
  const newest = latest.map((one) => shown[one.newest]!)
  return [
    integers(latest.map((one) => one.newest + 1)),
    bigintegers(latest.map(({ keysHash }) => keysHash ?? null)),
    texts(latest.map(({ merged }) => optionalJsonText(merged?.metrics))),
    texts(latest.map(({ merged }) => optionalJsonText(merged?.quality))),
    texts(latest.map(({ merged }) => optionalJsonText(merged?.older))),
    texts(newest.map(({ output }) => (output.health === undefined ? null : String(output.health.score)))),
    texts(newest.map(computedBy))
  ]
}

export const shownParameters = (shown: ReadonlyArray<Shown>): ReadonlyArray<PgTypes.Parameter> => [
  uuids(shown.map(({ tenantId }) => tenantId)),
  uuids(shown.map(({ assetId }) => assetId)),
  instants(shown.map(({ output }) => output.ts)),
  texts(shown.map(({ output }) => jsonText(output.metrics))),
  texts(shown.map(({ output }) => optionalJsonText(output.quality))),
  ...entityParameters(shown)
]
