-- migrate:up

-- Where assets stand.
create table spaces (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  name text not null,
  kind text not null check (kind in ('site', 'building', 'floor', 'room', 'area')),
  parent_id uuid,
  floor_plan_document_id uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by uuid references users,
  updated_by uuid references users,
  version int not null default 1,
  unique (tenant_id, id),
  foreign key (tenant_id, parent_id) references spaces (tenant_id, id)
);
create index spaces_parent on spaces (tenant_id, parent_id);
call isolate('spaces');

create table asset_types (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  name text not null,
  description text not null default '',
  category text,
  icon text,
  color text,
  parent_type_id uuid,
  custom_fields jsonb not null default '{}', -- JSON Schema of the assets' custom attributes
  dashboard jsonb not null default '{}',
  published_version int,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by uuid references users,
  updated_by uuid references users,
  version int not null default 1,
  unique (tenant_id, name),
  unique (tenant_id, id),
  foreign key (tenant_id, parent_type_id) references asset_types (tenant_id, id)
);
create index asset_types_parent on asset_types (parent_type_id);
call isolate('asset_types');

-- A published version is the whole truth: what it inherits is copied into it, so that a version of the parent type changes
-- its children by new versions of theirs and by nothing else.
create table asset_type_versions (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  asset_type_id uuid not null,
  number int not null,
  state text not null check (state in ('draft', 'published')),
  effective_at timestamptz,
  config jsonb not null, -- what the type itself sets
  resolved jsonb, -- with what it inherits
  note text not null default '',
  author uuid references users,
  created_at timestamptz not null default now(),
  unique (asset_type_id, number),
  foreign key (tenant_id, asset_type_id) references asset_types (tenant_id, id) on delete cascade,
  check (state = 'draft' or (effective_at is not null and resolved is not null))
);
create unique index asset_type_versions_one_draft on asset_type_versions (asset_type_id) where state = 'draft';
call isolate('asset_type_versions');

create table asset_profiles (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  name text not null,
  description text not null default '',
  asset_type_id uuid not null,
  device_mode text not null default 'many' check (device_mode in ('none', 'one', 'many')),
  location_mode text not null default 'none' check (location_mode in ('none', 'coordinates', 'floor_plan')),
  default_attributes jsonb not null default '{}',
  health_thresholds jsonb, -- { warning, critical }: where the badge changes; null: 70 and 40
  telemetry_mappings jsonb not null default '{}',
  alarm_settings jsonb not null default '{}',
  icon text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by uuid references users,
  updated_by uuid references users,
  version int not null default 1,
  unique (tenant_id, name),
  unique (tenant_id, id),
  foreign key (tenant_id, asset_type_id) references asset_types (tenant_id, id)
);
create index asset_profiles_type on asset_profiles (asset_type_id);
call isolate('asset_profiles');

create table assets (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  name text not null,
  description text not null default '',
  asset_type_id uuid not null,
  profile_id uuid,
  parent_id uuid,
  space_id uuid,
  lat float8 check (lat between -90 and 90),
  lon float8 check (lon between -180 and 180),
  plan_x float8,
  plan_y float8,
  status text not null default 'active' check (status in ('active', 'inactive', 'decommissioned')),
  custom_attributes jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by uuid references users,
  updated_by uuid references users,
  version int not null default 1,
  unique (tenant_id, id),
  foreign key (tenant_id, asset_type_id) references asset_types (tenant_id, id),
  foreign key (tenant_id, profile_id) references asset_profiles (tenant_id, id),
  foreign key (tenant_id, parent_id) references assets (tenant_id, id),
  foreign key (tenant_id, space_id) references spaces (tenant_id, id),
  check ((lat is null) = (lon is null)),
  check ((plan_x is null) = (plan_y is null)),
  check (parent_id <> id)
);
create index assets_type on assets (tenant_id, asset_type_id);
create index assets_parent on assets (parent_id);
create index assets_space on assets (space_id);
create index assets_profile on assets (profile_id);
create index assets_custom_attributes on assets using gin (custom_attributes);
call isolate('assets');

-- What the pipeline knows of an asset: apart from what people edit, since it changes all the time and no cache holds it.
create table asset_status (
  asset_id uuid primary key,
  tenant_id uuid not null references organizations,
  health_score float8 check (health_score between 0 and 100), -- null: no data, so no score
  health_score_updated_at timestamptz,
  health_score_computed_by text, -- algorithm and version of the asset type
  last_telemetry_at timestamptz,
  foreign key (tenant_id, asset_id) references assets (tenant_id, id) on delete cascade
) with (fillfactor = 50);
call isolate('asset_status');

create table asset_groups (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  name text not null,
  description text not null default '',
  filter jsonb, -- null: a list, in asset_group_members
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by uuid references users,
  updated_by uuid references users,
  version int not null default 1,
  unique (tenant_id, name),
  unique (tenant_id, id)
);
call isolate('asset_groups');

-- Whether a group's filter takes an asset in: { assetTypeId?, profileId?, parentId?, spaceId?, status?, q?, attributes? }. What
-- stands in a space stands in those around it too.
create function asset_matches(filter jsonb, asset assets) returns boolean language sql stable parallel safe
begin atomic
  select (filter ->> 'assetTypeId' is null or asset.asset_type_id = (filter ->> 'assetTypeId')::uuid)
    and (filter ->> 'profileId' is null or asset.profile_id = (filter ->> 'profileId')::uuid)
    and (filter ->> 'parentId' is null or asset.parent_id = (filter ->> 'parentId')::uuid)
    and (filter ->> 'status' is null or asset.status = filter ->> 'status')
    and (filter ->> 'q' is null or position(lower(filter ->> 'q') in lower(asset.name)) > 0)
    and asset.custom_attributes @> coalesce(filter -> 'attributes', '{}')
    and (filter ->> 'spaceId' is null or (filter ->> 'spaceId')::uuid in (
      with recursive around as (
        select id, parent_id from spaces where id = asset.space_id
        union
        select outer_space.id, outer_space.parent_id from spaces outer_space join around on outer_space.id = around.parent_id
      )
      select id from around
    ));
end;

create table asset_group_members (
  group_id uuid not null,
  asset_id uuid not null,
  tenant_id uuid not null references organizations,
  primary key (group_id, asset_id),
  foreign key (tenant_id, group_id) references asset_groups (tenant_id, id) on delete cascade,
  foreign key (tenant_id, asset_id) references assets (tenant_id, id) on delete cascade
);
create index asset_group_members_asset on asset_group_members (asset_id);
call isolate('asset_group_members');

-- Files; their bytes lie where the storage key says.
create table documents (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  owner_type text not null check (owner_type in ('asset', 'space')),
  owner_id uuid not null,
  name text not null,
  media_type text not null,
  size int not null,
  sha256 text not null, -- hex
  storage_key text not null unique,
  created_at timestamptz not null default now(),
  created_by uuid references users,
  unique (tenant_id, id)
);
create index documents_owner on documents (owner_type, owner_id);
call isolate('documents');
alter table spaces add constraint spaces_floor_plan_document_id_fkey
  foreign key (tenant_id, floor_plan_document_id) references documents (tenant_id, id)
  on delete set null (floor_plan_document_id);

-- What measures what, and when it did. A link ends and is never deleted: a rebuild of an asset's past needs it.
create table entity_edges (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  source_entity_type text not null check (source_entity_type in ('device', 'asset')),
  source_entity_id uuid not null,
  target_entity_type text not null check (target_entity_type in ('device', 'asset')),
  target_entity_id uuid not null,
  relationship_type text not null check (relationship_type in ('MONITORED_BY')),
  valid_from timestamptz not null,
  valid_until timestamptz, -- null: open
  metadata jsonb not null default '{}', -- { port?, role, metrics_mapping }
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by uuid references users,
  updated_by uuid references users,
  version int not null default 1,
  unique (tenant_id, id),
  check (valid_until > valid_from),
  check (relationship_type <> 'MONITORED_BY' or (source_entity_type = 'device' and target_entity_type = 'asset'))
);
create unique index entity_edges_one_open on entity_edges
  (source_entity_id, target_entity_id, coalesce(metadata ->> 'port', ''))
  where relationship_type = 'MONITORED_BY' and valid_until is null;
create index entity_edges_source on entity_edges (source_entity_id)
  where source_entity_type = 'device' and target_entity_type = 'asset';
create index entity_edges_target on entity_edges (target_entity_id);
create index entity_edges_validity on entity_edges (relationship_type, valid_from, valid_until);
call isolate('entity_edges');

-- Of a device or an asset that is removed the links end then; what they were until then stays.
create function end_edges() returns trigger language plpgsql set search_path = pg_catalog, public, pg_temp as $$
begin
  update entity_edges edge set valid_until = greatest(now(), edge.valid_from + interval '1 microsecond'),
    updated_at = now(), version = edge.version + 1
  from removed_rows removed
  where (edge.valid_until is null or edge.valid_until > now())
    and ((edge.source_entity_type = tg_argv[0] and edge.source_entity_id = removed.id)
      or (edge.target_entity_type = tg_argv[0] and edge.target_entity_id = removed.id));
  return null;
end $$;
create trigger devices_end_edges after delete on devices referencing old table as removed_rows
  for each statement execute function end_edges('device');
create trigger assets_end_edges after delete on assets referencing old table as removed_rows
  for each statement execute function end_edges('asset');

-- A rule that ends stays with its versions: what was said by it must be said again by a rebuild.
create table threshold_rules (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  name text not null,
  description text not null default '',
  current_version int not null default 1,
  owner_type_id uuid, -- the asset type whose configuration it stands in; null: people's own
  owner_key text, -- which part of it
  ended_at timestamptz, -- removed, or no longer in its type's configuration
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by uuid references users,
  updated_by uuid references users,
  version int not null default 1,
  unique (tenant_id, id),
  unique (owner_type_id, owner_key),
  check ((owner_type_id is null) = (owner_key is null))
);
create index threshold_rules_tenant on threshold_rules (tenant_id, name, id);
call isolate('threshold_rules');

create table threshold_rule_versions (
  rule_id uuid not null,
  tenant_id uuid not null references organizations,
  number int not null,
  effective_at timestamptz not null,
  config jsonb not null,
  type_version int, -- of the owning asset type
  author uuid references users,
  created_at timestamptz not null default now(),
  primary key (rule_id, number),
  foreign key (tenant_id, rule_id) references threshold_rules (tenant_id, id)
);
create index threshold_rule_versions_tenant on threshold_rule_versions (tenant_id);
call isolate('threshold_rule_versions');

-- What folds of an entity's readings have come to. Written by the owner of the partition that the readings come through, and
-- by a rebuild, which locks the row and raises its revision.
create table fold_states (
  kind text not null check (kind in ('asset', 'device_rule', 'asset_rule')),
  entity_id uuid not null,
  rule_id uuid not null default '00000000-0000-0000-0000-000000000000', -- none: the fold is the entity's own
  tenant_id uuid not null references organizations,
  partition int not null,
  base bytea not null, -- JSON: strings in it may hold what jsonb does not
  recent bytea not null, -- JSON: the inputs after base_time
  base_time timestamptz not null,
  passed timestamptz, -- until when time has passed without inputs; null: to the newest input
  due_at timestamptz, -- when something ends or is missed though nothing comes; null: never
  revision int not null default 0,
  primary key (kind, entity_id, rule_id)
) with (fillfactor = 50);
create index fold_states_due on fold_states (kind, partition, due_at) where due_at is not null;
call isolate('fold_states');

create table alarms (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  rule_id uuid not null,
  rule_version int not null,
  entity_type text not null check (entity_type in ('device', 'asset')),
  entity_id uuid not null,
  state text not null check (state in ('pending', 'active', 'cleared', 'retracted')),
  severity text not null check (severity in ('info', 'low', 'warning', 'medium', 'high', 'critical')),
  priority int not null check (priority between 1 and 5),
  started_at timestamptz not null,
  ended_at timestamptz,
  end_reason text check (end_reason in ('cleared', 'superseded', 'deactivated')),
  settled boolean not null default false,
  message text not null default '',
  value jsonb, -- that raised it; null: silence
  threshold float8,
  cause_reading_id uuid,
  acknowledged_by uuid references users,
  acknowledged_at timestamptz,
  comment_count int not null default 0,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  version int not null default 1,
  unique (tenant_id, id),
  foreign key (tenant_id, rule_id) references threshold_rules (tenant_id, id),
  check ((ended_at is null) = (end_reason is null))
);
create index alarms_tenant on alarms (tenant_id, state, severity);
create index alarms_started on alarms (tenant_id, started_at, id);
create index alarms_entity on alarms (entity_id, started_at);
create index alarms_rule on alarms (rule_id, entity_id);
create index alarms_unsettled on alarms (entity_id) where not settled;
call isolate('alarms');

create table alarm_comments (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  alarm_id uuid not null,
  body text not null,
  created_at timestamptz not null default now(),
  created_by uuid references users,
  foreign key (tenant_id, alarm_id) references alarms (tenant_id, id) on delete cascade
);
create index alarm_comments_alarm on alarm_comments (alarm_id, created_at);
call isolate('alarm_comments');

alter table system_events
  add column rule_id uuid,
  add column alarm_id uuid,
  add column priority int check (priority between 1 and 5),
  add column message text,
  add column acknowledged_by uuid references users,
  add column acknowledged_at timestamptz,
  add column dismissed_by uuid references users,
  add column dismissed_at timestamptz,
  add column comment_count int not null default 0,
  add constraint system_events_tenant_id_id_key unique (tenant_id, id);
create index system_events_entity on system_events (entity_id, occurred_at);
create index system_events_alarm on system_events (alarm_id) where alarm_id is not null;

create table event_comments (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  event_id uuid not null,
  body text not null,
  created_at timestamptz not null default now(),
  created_by uuid references users,
  foreign key (tenant_id, event_id) references system_events (tenant_id, id) on delete cascade
);
create index event_comments_event on event_comments (event_id, created_at);
call isolate('event_comments');

-- Of an asset: a reading may come from children and not from one device and message, and it may be corrected.
alter table telemetry_frames
  alter column message_id drop not null,
  alter column source_device_id drop not null,
  add column revision bigint not null default 0,
  add column late boolean not null default false; -- came too late to take part; a rebuild counts it
alter table entity_latest add column held jsonb; -- { transaction: outputs }: waits for the rest of its transaction
create index telemetry_transactions_invisible on telemetry_transactions (id)
  where assets is not null and not jsonb_exists(metadata, 'assetsVisible');

create or replace view telemetry_history with (security_invoker = true) as
select frame.tenant_id, frame.entity_id, frame.entity_type, metric.key as metric_key,
  case jsonb_typeof(metric.value) when 'number' then metric.value::float8 when 'boolean' then metric.value::boolean::int::float8 end as value,
  case when jsonb_typeof(metric.value) in ('string', 'boolean') then metric.value #>> '{}' end as value_text,
  case when jsonb_typeof(metric.value) in ('object', 'array') then metric.value end as value_json,
  coalesce(
    jsonb_path_query_array(version.config,
      '$.transformationRules[*] ? (@.kind == "unit" && @.metricKey == $key).to',
      jsonb_build_object('key', metric.key)) ->> -1,
    version.config #>> array['extractionRules', metric.key, 'unit'],
    jsonb_path_query_first(asset_version.resolved, '$.metricDefinitions[*] ? (@.key == $key).unit',
      jsonb_build_object('key', metric.key)) #>> '{}'
  ) as unit,
  coalesce(frame.quality ->> metric.key, 'good') as quality,
  frame.ts as "timestamp", frame.received_at, frame.source_device_id, frame.message_id as source_message_id,
  frame.reading_id, frame.config_version, frame.metadata
from telemetry_frames frame
cross join lateral jsonb_each(frame.metrics) as metric
left join devices device on frame.entity_type = 'device' and device.id = frame.entity_id
left join device_type_versions version
  on version.device_type_id = device.device_type_id and version.number = frame.config_version
left join assets asset on frame.entity_type = 'asset' and asset.id = frame.entity_id
left join asset_type_versions asset_version
  on asset_version.asset_type_id = asset.asset_type_id and asset_version.number = frame.config_version;

create trigger assets_inserted after insert on assets referencing new table as changed_rows
  for each statement execute function note_profile_change('asset', 'id');
create trigger assets_updated after update on assets referencing new table as changed_rows
  for each statement execute function note_profile_change('asset', 'id');
create trigger assets_deleted after delete on assets referencing old table as changed_rows
  for each statement execute function note_profile_change('asset', 'id');
create trigger asset_type_versions_inserted after insert on asset_type_versions referencing new table as changed_rows
  for each statement execute function note_profile_change('asset-type', 'asset_type_id');
create trigger asset_type_versions_updated after update on asset_type_versions referencing new table as changed_rows
  for each statement execute function note_profile_change('asset-type', 'asset_type_id');
create trigger asset_type_versions_deleted after delete on asset_type_versions referencing old table as changed_rows
  for each statement execute function note_profile_change('asset-type', 'asset_type_id');
create trigger asset_profiles_updated after update on asset_profiles referencing new table as changed_rows
  for each statement execute function note_profile_change('asset-profile', 'id');
create trigger entity_edges_inserted after insert on entity_edges referencing new table as changed_rows
  for each statement execute function note_profile_change('links', 'source_entity_id');
create trigger entity_edges_updated after update on entity_edges referencing new table as changed_rows
  for each statement execute function note_profile_change('links', 'source_entity_id');
create trigger entity_edges_deleted after delete on entity_edges referencing old table as changed_rows
  for each statement execute function note_profile_change('links', 'source_entity_id');
-- Rules and the groups that they name are known by organization.
create trigger threshold_rule_versions_inserted after insert on threshold_rule_versions
  referencing new table as changed_rows
  for each statement execute function note_profile_change('rules', 'tenant_id');
create trigger threshold_rule_versions_updated after update on threshold_rule_versions
  referencing new table as changed_rows
  for each statement execute function note_profile_change('rules', 'tenant_id');
create trigger threshold_rule_versions_deleted after delete on threshold_rule_versions
  referencing old table as changed_rows
  for each statement execute function note_profile_change('rules', 'tenant_id');
create trigger asset_groups_inserted after insert on asset_groups referencing new table as changed_rows
  for each statement execute function note_profile_change('groups', 'tenant_id');
create trigger asset_groups_updated after update on asset_groups referencing new table as changed_rows
  for each statement execute function note_profile_change('groups', 'tenant_id');
create trigger asset_groups_deleted after delete on asset_groups referencing old table as changed_rows
  for each statement execute function note_profile_change('groups', 'tenant_id');
create trigger asset_group_members_inserted after insert on asset_group_members referencing new table as changed_rows
  for each statement execute function note_profile_change('groups', 'tenant_id');
create trigger asset_group_members_deleted after delete on asset_group_members referencing old table as changed_rows
  for each statement execute function note_profile_change('groups', 'tenant_id');
create trigger spaces_updated after update on spaces referencing new table as changed_rows
  for each statement execute function note_profile_change('groups', 'tenant_id');

revoke execute on function end_edges, asset_matches from public;
grant execute on function asset_matches to argusiq_app, argusiq_pipeline;
grant select, insert, update, delete on spaces, asset_types, asset_type_versions, asset_profiles, assets, asset_groups,
  asset_group_members, documents to argusiq_app;
grant select, insert, update on entity_edges, threshold_rules, threshold_rule_versions to argusiq_app;
grant select on asset_status, alarms to argusiq_app;
grant update (acknowledged_by, acknowledged_at, comment_count, updated_at, version) on alarms to argusiq_app;
grant update (acknowledged_by, acknowledged_at, dismissed_by, dismissed_at, comment_count) on system_events to argusiq_app;
grant select, insert on alarm_comments, event_comments to argusiq_app;
grant select on spaces, asset_types, asset_type_versions, asset_profiles, assets, asset_groups, asset_group_members,
  documents, entity_edges, threshold_rules, threshold_rule_versions, alarm_comments to argusiq_pipeline;
grant select, insert, update, delete on asset_status, fold_states, alarms to argusiq_pipeline;

-- migrate:down

delete from telemetry_frames where entity_type = 'asset';
delete from entity_latest where entity_type = 'asset';
create or replace view telemetry_history with (security_invoker = true) as
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
drop index telemetry_transactions_invisible;
alter table entity_latest drop column held;
alter table telemetry_frames
  drop column late, drop column revision,
  alter column source_device_id set not null,
  alter column message_id set not null;
drop table event_comments, alarm_comments, alarms, fold_states, threshold_rule_versions, threshold_rules;
revoke update (acknowledged_by, acknowledged_at, dismissed_by, dismissed_at, comment_count) on system_events
  from argusiq_app;
drop index system_events_entity, system_events_alarm;
alter table system_events
  drop constraint system_events_tenant_id_id_key,
  drop column rule_id, drop column alarm_id, drop column priority, drop column message,
  drop column acknowledged_by, drop column acknowledged_at, drop column dismissed_by, drop column dismissed_at,
  drop column comment_count;
drop trigger devices_end_edges on devices;
drop function asset_matches;
drop table entity_edges, asset_group_members, asset_groups, asset_status, assets, asset_profiles, asset_type_versions,
  asset_types;
alter table spaces drop constraint spaces_floor_plan_document_id_fkey;
drop table documents, spaces;
drop function end_edges;
