-- migrate:up

-- Bodies that are parsed here, not at each call: no search_path can bend them, and the planner can inline them.
create function app_tenant() returns uuid language sql stable parallel safe
  return nullif(current_setting('app.tenant_id', true), '')::uuid;
create function app_user() returns uuid language sql stable parallel safe
  return nullif(current_setting('app.user_id', true), '')::uuid;

-- Every tenant table: row-level security forced; the owner and the pipeline see all, the application role sees the
-- tenant that its transaction has set, and nothing without one. Partitions carry no policies and no grants: they are
-- reached through their parent only.
create procedure isolate(target regclass, tenant_column text default 'tenant_id')
language plpgsql set search_path = pg_catalog, public as $$
begin
  execute format('alter table %s enable row level security', target);
  execute format('alter table %s force row level security', target);
  execute format('create policy owner_all on %s to current_user using (true) with check (true)', target);
  execute format('create policy pipeline_all on %s to argusiq_pipeline using (true) with check (true)', target);
  execute format('create policy tenant on %s to argusiq_app using (%I = app_tenant()) with check (%I = app_tenant())',
    target, tenant_column, tenant_column);
end $$;

create table organizations (
  id uuid primary key,
  name text not null,
  slug text not null unique,
  status text not null default 'active' check (status in ('active', 'suspended')),
  settings jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  version int not null default 1
);
call isolate('organizations', 'id');

create table users (
  id uuid primary key,
  email text not null,
  name text not null,
  password_hash text,
  status text not null default 'active' check (status in ('active', 'disabled')),
  is_platform_admin boolean not null default false,
  last_login_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  version int not null default 1
);
create unique index users_email on users (lower(email));

create table memberships (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  user_id uuid not null references users,
  role text not null check (role in ('admin', 'manager', 'engineer', 'technician', 'viewer')),
  is_default boolean not null default false,
  created_at timestamptz not null default now(),
  unique (user_id, tenant_id)
);
call isolate('memberships');
create policy own on memberships for select to argusiq_app using (user_id = app_user());

create table refresh_tokens (
  id uuid primary key,
  user_id uuid not null references users,
  tenant_id uuid not null references organizations,
  family uuid not null,
  token_hash bytea not null unique,
  expires_at timestamptz not null,
  used_at timestamptz,
  revoked_at timestamptz,
  created_at timestamptz not null default now()
);
create index refresh_tokens_family on refresh_tokens (family);

create table device_types (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  name text not null,
  description text not null default '',
  icon text,
  protocol text,
  published_version int,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by uuid references users,
  updated_by uuid references users,
  version int not null default 1,
  unique (tenant_id, name),
  unique (tenant_id, id)
);
call isolate('device_types');

create table device_type_versions (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  device_type_id uuid not null,
  number int not null,
  state text not null check (state in ('draft', 'published')),
  effective_at timestamptz,
  config jsonb not null,
  note text not null default '',
  author uuid references users,
  created_at timestamptz not null default now(),
  unique (device_type_id, number),
  foreign key (tenant_id, device_type_id) references device_types (tenant_id, id) on delete cascade,
  check (state = 'draft' or effective_at is not null)
);
create unique index device_type_versions_one_draft on device_type_versions (device_type_id) where state = 'draft';
call isolate('device_type_versions');

create table devices (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  name text not null,
  device_type_id uuid not null,
  external_id text,
  serial_number text,
  logical_identifier text,
  parent_device_id uuid,
  status text not null default 'active' check (status in ('active', 'inactive', 'decommissioned')),
  protocol text,
  network_metadata jsonb not null default '{}',
  custom_attributes jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by uuid references users,
  updated_by uuid references users,
  version int not null default 1,
  unique (tenant_id, id),
  unique (tenant_id, serial_number),
  unique (tenant_id, external_id),
  unique (tenant_id, parent_device_id, logical_identifier),
  foreign key (tenant_id, device_type_id) references device_types (tenant_id, id),
  foreign key (tenant_id, parent_device_id) references devices (tenant_id, id)
);
create index devices_parent on devices (parent_device_id);
create index devices_type on devices (device_type_id);
create index devices_custom_attributes on devices using gin (custom_attributes);
call isolate('devices');

create table device_status (
  device_id uuid primary key,
  tenant_id uuid not null references organizations,
  connectivity text not null default 'unknown' check (connectivity in ('online', 'offline', 'unknown')),
  last_seen_at timestamptz,
  last_connectivity_change timestamptz,
  reason text,
  messages_total bigint not null default 0
) with (fillfactor = 50);
create index device_status_connectivity on device_status (tenant_id, connectivity);
call isolate('device_status');

create table device_api_keys (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  device_id uuid not null,
  key_prefix text not null,
  key_hash text not null unique, -- SHA-256, hex: the keys are random, so no slow hash is needed
  last_used_at timestamptz,
  expires_at timestamptz,
  revoked_at timestamptz,
  created_at timestamptz not null default now(),
  created_by uuid references users,
  foreign key (tenant_id, device_id) references devices (tenant_id, id) on delete cascade
);
create index device_api_keys_device on device_api_keys (device_id);
call isolate('device_api_keys');

-- What caches must notice. The number moves in commit order: a bump holds its row until its transaction ends.
create table change_sequence (scope text primary key, number bigint not null);
insert into change_sequence values ('profiles', 0);

-- A statement that changed nothing moves nothing, or every cache would be emptied for it.
create function note_profile_change() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
declare
  changed_ids uuid[];
  changed_id uuid;
  sequence bigint;
begin
  execute format('select array(select distinct %I from changed_rows limit 101)', tg_argv[1]) into changed_ids;
  if cardinality(changed_ids) = 0 then return null; end if;
  update change_sequence set number = number + 1 where scope = 'profiles' returning number into sequence;
  foreach changed_id in array changed_ids loop
    perform pg_notify('cache_invalidate',
      json_build_object('type', tg_argv[0], 'id', changed_id, 'sequence', sequence)::text);
  end loop;
  return null;
end $$;

create trigger devices_inserted after insert on devices referencing new table as changed_rows
  for each statement execute function note_profile_change('device', 'id');
create trigger devices_updated after update on devices referencing new table as changed_rows
  for each statement execute function note_profile_change('device', 'id');
create trigger devices_deleted after delete on devices referencing old table as changed_rows
  for each statement execute function note_profile_change('device', 'id');
create trigger device_type_versions_inserted after insert on device_type_versions referencing new table as changed_rows
  for each statement execute function note_profile_change('device-type', 'device_type_id');
create trigger device_type_versions_updated after update on device_type_versions referencing new table as changed_rows
  for each statement execute function note_profile_change('device-type', 'device_type_id');
create trigger device_type_versions_deleted after delete on device_type_versions referencing old table as changed_rows
  for each statement execute function note_profile_change('device-type', 'device_type_id');
create trigger device_api_keys_inserted after insert on device_api_keys referencing new table as changed_rows
  for each statement execute function note_profile_change('device', 'device_id');
create trigger device_api_keys_deleted after delete on device_api_keys referencing old table as changed_rows
  for each statement execute function note_profile_change('device', 'device_id');

-- The use of a key is written down often and changes nothing that a cache holds.
create function note_api_key_change() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
declare sequence bigint; changed_id uuid;
begin
  for changed_id in
    select distinct after.device_id from old_rows before join new_rows after using (id)
    where (before.key_hash, before.expires_at, before.revoked_at, before.device_id)
      is distinct from (after.key_hash, after.expires_at, after.revoked_at, after.device_id)
    limit 101
  loop
    if sequence is null then
      update change_sequence set number = number + 1 where scope = 'profiles' returning number into sequence;
    end if;
    perform pg_notify('cache_invalidate',
      json_build_object('type', 'device', 'id', changed_id, 'sequence', sequence)::text);
  end loop;
  return null;
end $$;
create trigger device_api_keys_updated after update on device_api_keys
  referencing old table as old_rows new table as new_rows
  for each statement execute function note_api_key_change();

create table consumer_offsets (
  "group" text not null,
  topic text not null,
  partition int not null,
  log_id text,
  epoch bigint not null default 0,
  next bigint,
  last_message_id uuid,
  partition_time timestamptz,
  primary key ("group", topic, partition)
) with (fillfactor = 50);

-- Audit copy of everything a device sent, the refused included. Append-only.
create table telemetry_raw (
  message_id uuid not null,
  tenant_id uuid,
  device_id uuid,
  received_at timestamptz not null,
  payload bytea not null,
  size int not null,
  content_type text not null,
  ingestion_source text not null,
  mqtt_topic text,
  client_id text,
  topic text not null,
  partition int not null,
  "offset" bigint not null,
  error text,
  error_reason text,
  primary key (message_id, received_at)
) partition by range (received_at);
create index telemetry_raw_device on telemetry_raw (device_id, received_at);
create table telemetry_raw_outside partition of telemetry_raw default;
call isolate('telemetry_raw');

create function refuse_change() returns trigger language plpgsql set search_path = pg_catalog as $$
begin
  raise exception '% is append-only: % is refused', tg_table_name, lower(tg_op) using errcode = 'insufficient_privilege';
end $$;
create trigger telemetry_raw_append_only before update or delete or truncate on telemetry_raw
  for each statement execute function refuse_change();

-- One row per reading. Rows outside every partition wait in telemetry_frames_outside until theirs is made.
create table telemetry_frames (
  tenant_id uuid not null,
  entity_type text not null check (entity_type in ('device', 'asset')),
  entity_id uuid not null,
  ts timestamptz not null,
  reading_id uuid not null,
  message_id uuid not null,
  received_at timestamptz not null,
  source_device_id uuid not null,
  config_version int not null,
  metrics jsonb not null,
  quality jsonb,
  metadata jsonb,
  primary key (entity_id, ts, reading_id)
) partition by range (ts);
create table telemetry_frames_outside partition of telemetry_frames default;
call isolate('telemetry_frames');

create table entity_latest (
  entity_id uuid primary key,
  entity_type text not null check (entity_type in ('device', 'asset')),
  tenant_id uuid not null,
  metrics jsonb not null, -- { key: { v, ts, q? } }, ts in epoch microseconds
  newest_ts bigint, -- no metric's ts is above it; null: unknown
  updated_at timestamptz not null
) with (fillfactor = 50);
call isolate('entity_latest');

create view telemetry_history with (security_invoker = true) as
select frame.tenant_id, frame.entity_id, frame.entity_type, metric.key as metric_key,
  case jsonb_typeof(metric.value) when 'number' then metric.value::float8 when 'boolean' then metric.value::boolean::int::float8 end as value,
  case when jsonb_typeof(metric.value) in ('string', 'boolean') then metric.value #>> '{}' end as value_text,
  case when jsonb_typeof(metric.value) in ('object', 'array') then metric.value end as value_json,
  coalesce(
    jsonb_path_query_array(version.config,
      '$.transformationRules[*] ? (@.kind == "unit" && @.metricKey == $key).to',
      jsonb_build_object('key', metric.key)) ->> -1,
    version.config #>> array['extractionRules', metric.key, 'unit']
  ) as unit,
  coalesce(frame.quality ->> metric.key, 'good') as quality,
  frame.ts as "timestamp", frame.received_at, frame.source_device_id, frame.message_id as source_message_id,
  frame.reading_id, frame.config_version, frame.metadata
from telemetry_frames frame
cross join lateral jsonb_each(frame.metrics) as metric
left join devices device on frame.entity_type = 'device' and device.id = frame.entity_id
left join device_type_versions version
  on version.device_type_id = device.device_type_id and version.number = frame.config_version;

-- Published by a relay from here: an event and what it tells of are one transaction.
create table system_events (
  id uuid primary key,
  sequence bigint generated always as identity unique,
  tenant_id uuid not null references organizations,
  event_type text not null,
  entity_type text not null check (entity_type in ('device', 'asset', 'organization')),
  entity_id uuid not null,
  severity text not null check (severity in ('info', 'low', 'warning', 'medium', 'high', 'critical')),
  occurred_at timestamptz not null,
  payload jsonb not null default '{}',
  published_at timestamptz
);
create index system_events_tenant on system_events (tenant_id, occurred_at);
create index system_events_unpublished on system_events (sequence) where published_at is null;
call isolate('system_events');

revoke execute on function app_tenant, app_user, note_profile_change, note_api_key_change, refuse_change from public;
revoke execute on procedure isolate from public;
grant execute on function app_tenant, app_user to argusiq_app, argusiq_pipeline;
grant usage on schema public to argusiq_pipeline, argusiq_app;
grant select, insert, update on organizations, users, refresh_tokens to argusiq_app;
grant select, insert, update, delete on memberships, device_types, device_type_versions, devices, device_status,
  device_api_keys to argusiq_app;
grant select on telemetry_raw, telemetry_frames, entity_latest, telemetry_history, system_events, change_sequence
  to argusiq_app;
grant insert on system_events to argusiq_app;
grant select on organizations, device_types, device_type_versions, device_api_keys, change_sequence, telemetry_history
  to argusiq_pipeline;
grant select, insert, update on devices, device_status, entity_latest, consumer_offsets, system_events
  to argusiq_pipeline;
grant select, insert, update, delete on telemetry_frames to argusiq_pipeline;
grant select, insert on telemetry_raw to argusiq_pipeline;
grant update (last_used_at) on device_api_keys to argusiq_pipeline;

-- migrate:down

drop view telemetry_history;
drop table system_events, entity_latest, telemetry_frames, telemetry_raw, consumer_offsets, device_api_keys, device_status,
  devices, device_type_versions, device_types, refresh_tokens, memberships, users, organizations, change_sequence;
drop function note_profile_change, note_api_key_change, refuse_change, app_tenant, app_user;
drop procedure isolate;
revoke usage on schema public from argusiq_pipeline, argusiq_app;
