/**
 * What an asset shows at present, told anew by its frames: where one of them is gone, or all were made anew.
 * @module
 */
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { texts } from "../telemetry/columns.ts"

type Sql = SqlClient.SqlClient

const counts = `not frame.late and not coalesce(frame.metadata ->> 'clock', '') = 'ahead'`
const micros = (column: string) => `(extract(epoch from ${column}) * 1000000)::bigint`

const latestStatement = `
with asked as (
  select key from entity_latest held cross join lateral jsonb_object_keys(held.metrics) key where held.entity_id = $1::uuid
  union select unnest($3::text[])
), found as (
  select asked.key, frame.metrics -> asked.key as value, frame.quality -> asked.key as quality, frame.ts,
    max(frame.ts) over () as newest
  from asked cross join lateral (
    select metrics, quality, ts from telemetry_frames frame
    where frame.entity_id = $1::uuid and jsonb_exists(frame.metrics, asked.key) and ${counts}
    order by frame.ts desc, frame.revision desc limit 1) frame
)
insert into entity_latest (entity_id, entity_type, tenant_id, metrics, newest_ts, older, quality, keys_hash, updated_at)
select $1::uuid, 'asset', $2::uuid, jsonb_object_agg(key, value), newest,
  jsonb_object_agg(key, ${micros("ts")}) filter (where ts < newest),
  jsonb_object_agg(key, quality) filter (where quality is not null), null, now()
from found group by newest
on conflict (entity_id) do update set (metrics, newest_ts, older, quality, keys_hash, updated_at) =
  (excluded.metrics, excluded.newest_ts, excluded.older, excluded.quality, null, excluded.updated_at)
returning 1`

const statusStatement = `
insert into asset_status (asset_id, tenant_id, health_score, health_score_updated_at, health_score_computed_by, last_telemetry_at)
select $1::uuid, $2::uuid, (frame.metrics ->> 'health_score')::float8,
  case when frame.metadata -> 'health' is not null then frame.ts end,
  (frame.metadata -> 'health' ->> 'algorithm') || ', version ' || frame.config_version, frame.ts
from (
  select * from telemetry_frames frame where frame.entity_id = $1::uuid and ${counts}
  order by frame.ts desc, frame.revision desc limit 1) frame
on conflict (asset_id) do update set
  (health_score, health_score_updated_at, health_score_computed_by, last_telemetry_at) =
  (excluded.health_score, excluded.health_score_updated_at, excluded.health_score_computed_by, excluded.last_telemetry_at)
returning 1`

/** Latest values and health as the frames have them. @param keys metrics that may not be shown yet */
export const showLatest = Effect.fnUntraced(function* (
  sql: Sql,
  assetId: string,
  tenantId: string,
  keys: Iterable<string>
) {
  const shown = yield* sql.unsafe(latestStatement, [assetId, tenantId, texts([...keys])])
  if (shown.length === 0) yield* sql`delete from entity_latest where entity_id = ${assetId}::uuid and held is null`
  const status = yield* sql.unsafe(statusStatement, [assetId, tenantId])
  if (status.length === 0) {
    yield* sql`update asset_status set health_score = null, health_score_updated_at = null, health_score_computed_by = null,
      last_telemetry_at = null where asset_id = ${assetId}::uuid`
  }
})
