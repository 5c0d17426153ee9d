-- migrate:up

-- The latest values as frames hold them, { key: value }: half the bytes of { key: { v, ts, q } }, and for the many devices that
-- send the same metrics every time the newest frame's own.
alter table entity_latest
  alter column newest_ts type timestamptz using timestamptz 'epoch' + newest_ts * interval '1 microsecond',
  add column older jsonb, -- { key: ts } of metrics measured before newest_ts, in epoch microseconds; null: none
  add column quality jsonb, -- { key: quality } where it is not good; null: all are
  add column keys_hash bigint; -- tells the names in metrics; null where some are older, or unknown

update entity_latest latest set (metrics, newest_ts, older, quality) = (
  select coalesce(jsonb_object_agg(key, value -> 'v'), '{}'),
    coalesce(timestamptz 'epoch' + max(ts) * interval '1 microsecond', '-infinity'),
    jsonb_object_agg(key, ts) filter (where ts < newest),
    jsonb_object_agg(key, value -> 'q') filter (where value ? 'q')
  from (
    select key, value, (value ->> 'ts')::bigint as ts, max((value ->> 'ts')::bigint) over () as newest
    from jsonb_each(latest.metrics)
  ) metric
);
alter table entity_latest alter column newest_ts set default '-infinity', alter column newest_ts set not null;

-- migrate:down

alter table entity_latest alter column newest_ts drop default, alter column newest_ts drop not null;
update entity_latest latest set metrics = coalesce((
  select jsonb_object_agg(key, jsonb_strip_nulls(jsonb_build_object(
    'ts', coalesce(older -> key, to_jsonb((extract(epoch from newest_ts) * 1000000)::bigint)), 'q', quality -> key
  )) || jsonb_build_object('v', value))
  from jsonb_each(metrics)
), '{}');
update entity_latest set newest_ts = null where not isfinite(newest_ts);
alter table entity_latest
  alter column newest_ts type bigint using (extract(epoch from newest_ts) * 1000000)::bigint,
  drop column older, drop column quality, drop column keys_hash;
