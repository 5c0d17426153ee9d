-- migrate:up

-- What was measured, by hour and by day (UTC), kept for good. Values of bad quality take no part.
create table telemetry_rollups (
  tenant_id uuid not null,
  entity_id uuid not null,
  bucket timestamptz not null,
  sum float8, -- null: nothing to add, or too large to be added
  min float8,
  max float8,
  count int not null, -- values of any type
  numbers int not null, -- of these, the numbers and booleans (true counts 1): sum, min and max are theirs
  resolution text not null check (resolution in ('1h', '1d')),
  metric_key text not null,
  first jsonb not null,
  last jsonb not null,
  primary key (entity_id, resolution, bucket, metric_key)
);
call isolate('telemetry_rollups');

-- Append-only: what was stored in an hour that is rolled up already. Whoever rolls up deletes the marks it has read.
create table rollup_dirty (
  tenant_id uuid not null,
  entity_id uuid not null,
  hour timestamptz not null
);
create index rollup_dirty_hour on rollup_dirty (entity_id, hour);
call isolate('rollup_dirty');

-- How far the rollups have come. One row.
create table rollup_progress (
  singleton boolean primary key default true check (singleton),
  marked_before timestamptz not null, -- whoever stores a frame before it leaves a mark
  rolled_before timestamptz not null, -- the rollups before it are complete, but for the hours that are marked
  kept_from timestamptz not null, -- retention has cut the frames before it: their rollups stay as they are
  check (rolled_before <= marked_before)
);

-- The frames of a statement that belong to hours rolled up already leave one mark for each entity and hour, in their
-- transaction. Writers run in read committed isolation: the snapshot in which they read the progress is younger than their
-- lock on telemetry_frames, for which the advancing of the progress waits.
create function mark_rollups() returns trigger language plpgsql set search_path = pg_catalog, public, pg_temp as $$
begin
  insert into rollup_dirty (tenant_id, entity_id, hour)
  select distinct tenant_id, entity_id, date_bin('1 hour', ts, timestamptz 'epoch')
  from changed_frames where ts < (select marked_before from rollup_progress);
  return null;
end $$;

insert into rollup_progress (marked_before, rolled_before, kept_from)
  select hour, hour, '-infinity' from date_bin('1 hour', now(), timestamptz 'epoch') as hour;

create trigger frames_inserted after insert on telemetry_frames referencing new table as changed_frames
  for each statement execute function mark_rollups();
create trigger frames_updated_away after update on telemetry_frames referencing old table as changed_frames
  for each statement execute function mark_rollups();
create trigger frames_updated after update on telemetry_frames referencing new table as changed_frames
  for each statement execute function mark_rollups();
create trigger frames_deleted after delete on telemetry_frames referencing old table as changed_frames
  for each statement execute function mark_rollups();

insert into rollup_dirty (tenant_id, entity_id, hour)
  select distinct tenant_id, entity_id, date_bin('1 hour', ts, timestamptz 'epoch')
  from telemetry_frames where ts < (select marked_before from rollup_progress);

-- As a subquery the tenant is found once for a statement, not once for a row: a third of what reading many rows costs.
alter policy tenant on telemetry_frames using (tenant_id = (select app_tenant()));
alter policy tenant on telemetry_rollups using (tenant_id = (select app_tenant()));
alter policy tenant on rollup_dirty using (tenant_id = (select app_tenant()));

revoke execute on function mark_rollups from public;
grant select on telemetry_rollups, rollup_dirty, rollup_progress to argusiq_app;
grant select on telemetry_rollups, rollup_progress to argusiq_pipeline;
grant select, insert on rollup_dirty to argusiq_pipeline;

-- migrate:down

alter policy tenant on telemetry_frames using (tenant_id = app_tenant());
drop trigger frames_inserted on telemetry_frames;
drop trigger frames_updated_away on telemetry_frames;
drop trigger frames_updated on telemetry_frames;
drop trigger frames_deleted on telemetry_frames;
drop function mark_rollups;
drop table rollup_progress, rollup_dirty, telemetry_rollups;
