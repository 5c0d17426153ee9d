/**
 * The statements by which readings take the place of others.
 * @module
 */
import { mergedLatest } from "../telemetry/latestStatement.ts"

const micros = (column: string) => `(extract(epoch from ${column}) * 1000000)::bigint`

/** Null where nothing is held. */
const newestOf = (latest: string) => micros(`nullif(${latest}.newest_ts, '-infinity')`)

const frameColumns = `entity_id::text as entity, ${micros("ts")} as ts, reading_id::text as reading, message_id::text as message,
  source_device_id::text as source`

export const framesStatement = `
  select ${frameColumns} from telemetry_frames
  where tenant_id = $1::uuid and received_at between ($2::timestamptz[])[1] and ($2::timestamptz[])[2]
    and message_id in (select unnest($3::uuid[]))`
export const framesOfEntitiesStatement = `${framesStatement} and entity_id = any($4::uuid[])`

export const framesOfWholesStatement = `
  select ${frameColumns} from telemetry_frames
  where tenant_id = $1::uuid and received_at between ($2::timestamptz[])[1] and ($2::timestamptz[])[2]
    and (source_device_id, received_at) in (select * from unnest($3::uuid[], $4::timestamptz[]))`

/** Of the entities those that hold every one of these metrics, and nothing as old as their last touched frame. */
export const settledStatement = `
  select latest.entity_id::text as entity
  from unnest($1::uuid[], $2::bigint[], $3::text[]) touched (entity_id, ts, keys)
  join entity_latest latest on latest.entity_id = touched.entity_id
  where touched.ts < ${newestOf("latest")}
    and (latest.older is null or touched.ts < (select min(value::bigint) from jsonb_each_text(latest.older)))
    and jsonb_exists_all(latest.metrics, array(select jsonb_object_keys(touched.keys::jsonb)))`

export const lockStatement = `
  select from entity_latest where entity_id = any($1::uuid[]) order by entity_id for update`

/**
 * The metrics whose latest value is as old as one of these frames, that went or came: it may be a value that is gone, or one of
 * several at the same instant. The frames tell anew.
 */
export const lostStatement = `
  select latest.entity_id::text as entity, array_agg(distinct key) as keys
  from unnest($1::uuid[], $2::bigint[]) touched (entity_id, ts)
  join entity_latest latest on latest.entity_id = touched.entity_id
  cross join lateral jsonb_object_keys(latest.metrics) key
  where (latest.older is not null or touched.ts = ${newestOf("latest")})
    and touched.ts = coalesce((latest.older ->> key)::bigint, ${newestOf("latest")})
  group by latest.entity_id`

/** Without these metrics; what is left may be nothing, older than everything. */
export const forgetStatement = `
  update entity_latest latest set metrics = kept.metrics, newest_ts = kept.newest, older = kept.older,
    quality = nullif(latest.quality - lost.keys, '{}'), keys_hash = null
  from (
    select entity_id, array_agg(key) as keys from unnest($1::uuid[], $2::text[]) lost (entity_id, key) group by entity_id
  ) lost
  cross join lateral (
    select coalesce(jsonb_object_agg(key, value), '{}') as metrics,
      coalesce(timestamptz 'epoch' + max(ts) * interval '1 microsecond', '-infinity') as newest,
      jsonb_object_agg(key, ts) filter (where ts < newest) as older
    from (
      select key, value, ts, max(ts) over () as newest from (
        select key, value, coalesce((held.older ->> key)::bigint, ${newestOf("held")}) as ts
        from entity_latest held cross join lateral jsonb_each(held.metrics)
        where held.entity_id = lost.entity_id and key <> all(lost.keys)
      ) metric
    ) metric
  ) kept
  where latest.entity_id = lost.entity_id`

export const deleteStatement = `
  delete from telemetry_frames frame using unnest($1::uuid[], $2::timestamptz[], $3::uuid[]) gone (entity_id, ts, reading_id)
  where frame.entity_id = gone.entity_id and frame.ts = gone.ts and frame.reading_id = gone.reading_id`

export const lockCountsStatement = `
  select from device_status where device_id = any($1::uuid[]) order by device_id for update`

/** A message has been counted again when its new readings were stored. */
export const uncountStatement = `
  update device_status status set messages_total = greatest(0, messages_total - gone.messages)
  from (
    select status.device_id, gone.messages from device_status status
    join unnest($1::uuid[], $2::int[]) gone (device_id, messages) on gone.device_id = status.device_id
    order by status.device_id for update of status
  ) gone
  where status.device_id = gone.device_id`

/** May count as latest: within 60 s ahead of received-at, and within what the version of the device's type allows. */
const mayBeLatest = `
  frame.ts - frame.received_at <= interval '60 seconds' and (
    select extract(epoch from frame.ts - frame.received_at)
      between -coalesce((version.config #>> '{timestamp,maxBehindSeconds}')::float8, 31536000)
      and coalesce((version.config #>> '{timestamp,maxAheadSeconds}')::float8, 60)
    from devices device join device_type_versions version
      on version.device_type_id = device.device_type_id and version.number = frame.config_version
    where device.id = frame.entity_id) is not false`

/**
 * The newest frame that holds each lost metric. Of several at one instant the one that was received first; of several of one
 * message the first of its entries, which only a frame stored just now tells.
 */
export const findStatement = `
  with found as (
    select lost.entity_id, lost.key, newest.tenant_id, newest.value, newest.quality, newest.ts
    from unnest($1::uuid[], $2::text[]) lost (entity_id, key)
    cross join lateral (
      select frame.ts from telemetry_frames frame
      where frame.entity_id = lost.entity_id and jsonb_exists(frame.metrics, lost.key) and ${mayBeLatest}
      order by frame.ts desc limit 1
    ) latest
    cross join lateral (
      select frame.tenant_id, frame.metrics -> lost.key as value, frame.quality -> lost.key as quality, frame.ts
      from telemetry_frames frame
      where frame.entity_id = lost.entity_id and frame.ts = latest.ts and jsonb_exists(frame.metrics, lost.key)
        and ${mayBeLatest}
      order by frame.received_at, frame.message_id, array_position($3::uuid[], frame.reading_id), frame.reading_id
      limit 1
    ) newest
  ), ranked as (
    select *, max(ts) over (partition by entity_id) as newest from found
  )
  insert into entity_latest (entity_id, entity_type, tenant_id, metrics, newest_ts, older, quality, keys_hash, updated_at)
  select entity_id, 'device', tenant_id, jsonb_object_agg(key, value), newest,
    jsonb_object_agg(key, ${micros("ts")}) filter (where ts < newest),
    jsonb_object_agg(key, quality) filter (where quality is not null), null, now()
  from ranked group by entity_id, tenant_id, newest order by entity_id
  on conflict (entity_id) do update set
    (metrics, newest_ts, older, quality, keys_hash, updated_at) = (${mergedLatest})`

export const clearStatement = `
  delete from entity_latest where entity_id = any($1::uuid[]) and metrics = '{}' and newest_ts = '-infinity'`
