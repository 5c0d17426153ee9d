/**
 * How latest values that come (`excluded`) and those held (`entity_latest`) become one row: of each metric the newer, of two
 * of the same instant the one held. In three ways, for cost: most devices send the same metrics every time, in order.
 * @module
 */

const held = "entity_latest"
const isNewer = `excluded.newest_ts > ${held}.newest_ts`
const hasSameKeys = `excluded.keys_hash = ${held}.keys_hash`
const microsOf = (instant: string) => `(extract(epoch from ${instant}) * 1000000)::bigint`

/** Everything held is replaced. */
const replaced = `
  select excluded.metrics, excluded.newest_ts, excluded.older, excluded.quality, excluded.keys_hash, excluded.updated_at
  where ${isNewer} and ${hasSameKeys}`

/** What comes is of one instant and newer than all that is held: it wins by key. */
const laidOver = `
  select ${held}.metrics || excluded.metrics, excluded.newest_ts, kept.older,
    nullif((coalesce(${held}.quality, '{}') - array(select jsonb_object_keys(excluded.metrics)))
      || coalesce(excluded.quality, '{}'), '{}'),
    case when kept.older is null then excluded.keys_hash end, excluded.updated_at
  from (
    select jsonb_object_agg(key, coalesce(${held}.older -> key, to_jsonb(${microsOf(`${held}.newest_ts`)}))) as older
    from jsonb_object_keys(${held}.metrics) key where not jsonb_exists(excluded.metrics, key)
  ) kept
  where ${isNewer} and excluded.keys_hash is not null and (${hasSameKeys}) is not true`

const valuesOf = (row: string, preference: number) => `
  select key, value, coalesce((${row}.older ->> key)::bigint, ${microsOf(`${row}.newest_ts`)}) as ts,
    ${row}.quality -> key as quality, ${preference} as preference
  from jsonb_each(${row}.metrics)`

/** Metric by metric. */
const compared = `
  select jsonb_object_agg(key, value), greatest(${held}.newest_ts, excluded.newest_ts),
    jsonb_object_agg(key, ts) filter (where ts < newest), jsonb_object_agg(key, quality) filter (where quality is not null),
    null::bigint, excluded.updated_at
  from (
    select distinct on (key) key, value, ts, quality, max(ts) over () as newest
    from (${valuesOf(held, 1)} union all ${valuesOf("excluded", 2)}) both_rows
    order by key, ts desc, preference
  ) chosen
  where (${isNewer} and excluded.keys_hash is not null) is not true
  having count(*) > 0`

/** Columns: metrics, newest_ts, older, quality, keys_hash, updated_at. */
export const mergedLatest = `${replaced} union all ${laidOver} union all ${compared}`
