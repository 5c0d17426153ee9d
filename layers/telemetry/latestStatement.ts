/**
 * How latest values that come (`excluded`) and those held (`entity_latest`) become one row: of each metric the newer. In three
 * ways, for cost: most devices send the same metrics every time, in order.
 * @module
 */

const held = "entity_latest"
const hasSameKeys = `excluded.keys_hash = ${held}.keys_hash`
const microsOf = (instant: string) => `(extract(epoch from ${instant}) * 1000000)::bigint`

/** Everything held is replaced. */
const replaced = (isNewer: string) => `
  select excluded.metrics, excluded.newest_ts, excluded.older, excluded.quality, excluded.keys_hash, excluded.updated_at
  where ${isNewer} and ${hasSameKeys}`

/** What comes is of one instant and newer than all that is held: it wins by key. */
const laidOver = (isNewer: string) => `
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

/** Metric by metric; of two of the same instant the one with the lower preference. */
const compared = (replacing: string, isNewer: string, preferenceOfHeld: number) => `
  select jsonb_object_agg(key, value), greatest(${held}.newest_ts, excluded.newest_ts),
    jsonb_object_agg(key, ts) filter (where ts < newest), jsonb_object_agg(key, quality) filter (where quality is not null),
    null::bigint, excluded.updated_at
  from (
    select distinct on (key) key, value, ts, quality, max(ts) over () as newest
    from (${valuesOf(held, preferenceOfHeld)} union all ${valuesOf("excluded", 2)}) both_rows
    order by key, ts desc, preference
  ) chosen
  where ((${replacing} and ${hasSameKeys}) or (${isNewer} and excluded.keys_hash is not null)) is not true
  having count(*) > 0`

const isNewer = `excluded.newest_ts > ${held}.newest_ts`
const isAsNew = `excluded.newest_ts >= ${held}.newest_ts`

/**
 * Whether something that comes may change what is held: not where all of its metrics are held and none of those is older, as in a
 * replay. A row that stays as it is need not be compared metric by metric and written once more.
 */
export const changesLatest = `(
  ${held}.older is null and excluded.newest_ts <= ${held}.newest_ts and (
    ${hasSameKeys} or jsonb_exists_all(${held}.metrics, array(select jsonb_object_keys(excluded.metrics))))
  ) is not true`

/** The first that is the case. The limit leaves the later ones, which exclude it, unasked. */
const either = (...ways: ReadonlyArray<string>) => `${ways.join(" union all ")} limit 1`

/** Columns: metrics, newest_ts, older, quality, keys_hash, updated_at. Of two values of the same instant the one held stands. */
export const mergedLatest = either(replaced(isNewer), laidOver(isNewer), compared(isNewer, isNewer, 1))
/** The same, but of two values of the same instant the one that comes counts: it corrects the other. */
export const correctedLatest = either(replaced(isAsNew), laidOver(isNewer), compared(isAsNew, isNewer, 3))
