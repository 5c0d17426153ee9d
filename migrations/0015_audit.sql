-- migrate:up

-- Who changed what, and what threatened the platform. Rows are only ever added, by the functions below; retention drops
-- whole partitions.
create table audit_log (
  id uuid not null default gen_random_uuid(),
  occurred_at timestamptz not null default clock_timestamp(),
  tenant_id uuid, -- null: of no organization
  actor_kind text not null check (actor_kind in ('user', 'command-line', 'device', 'system')),
  actor_id uuid,
  action text not null,
  entity_type text not null,
  entity_id text,
  before jsonb, -- of a change only what changed, secrets masked
  after jsonb,
  request_id text,
  address text,
  count int not null default 1, -- of the same within a minute
  primary key (id, occurred_at)
) partition by range (occurred_at);
create index audit_log_tenant on audit_log (tenant_id, occurred_at, id);
create index audit_log_entity on audit_log (entity_id, occurred_at);
create index audit_log_actor on audit_log (actor_id, occurred_at) where actor_id is not null;
create table audit_log_outside partition of audit_log default;
create trigger audit_log_append_only before update or delete or truncate on audit_log
  for each statement execute function refuse_change();

alter table audit_log enable row level security;
alter table audit_log force row level security;
create policy owner_all on audit_log to current_user using (true) with check (true);
create policy tenant on audit_log for select to argusiq_app using (tenant_id = app_tenant());
create policy unowned on audit_log for select to argusiq_app
  using (tenant_id is null and current_setting('app.operator', true) = 'on');

-- A column or a key whose value nobody is to read in the log.
create function audit_is_secret(name text) returns boolean language sql immutable parallel safe
  return name ~* '(password|passphrase|secret|token|credential|authorization|private_?key|api_?key|sealed|(^|_)hash$|[a-z]Hash$)';

-- This and the next are called by the functions below alone, which set the search path.
create function audit_masked(value jsonb) returns jsonb language plpgsql immutable parallel safe as $$
begin
  -- Nearly nothing has secrets: one look at the text spares the walk.
  if value is null or value::text !~* 'pass|secret|token|cred|authorization|key|sealed|hash' then return value; end if;
  return case jsonb_typeof(value)
    when 'object' then (
      select coalesce(jsonb_object_agg(key, case
        when audit_is_secret(key) and jsonb_typeof(member) in ('string', 'number', 'array') then '"(secret)"'::jsonb
        when jsonb_typeof(member) in ('object', 'array') then audit_masked(member)
        else member end), '{}')
      from jsonb_each(value) as members (key, member))
    when 'array' then (
      select coalesce(jsonb_agg(audit_masked(element) order by place), '[]')
      from jsonb_array_elements(value) with ordinality as elements (element, place))
    else value end;
end $$;

-- [before, after] of what differs, objects within objects too.
create function audit_difference(was jsonb, became jsonb) returns jsonb language plpgsql immutable parallel safe as $$
declare
  before jsonb := '{}';
  after jsonb := '{}';
  inner_change jsonb;
  member record;
begin
  for member in
    select coalesce(old_member.key, new_member.key) as key, old_member.value as old_value, new_member.value as new_value
    from jsonb_each(was) old_member full join jsonb_each(became) new_member on new_member.key = old_member.key
    where old_member.value is distinct from new_member.value
  loop
    if jsonb_typeof(member.old_value) = 'object' and jsonb_typeof(member.new_value) = 'object' then
      inner_change := audit_difference(member.old_value, member.new_value);
      before := before || jsonb_build_object(member.key, inner_change -> 0);
      after := after || jsonb_build_object(member.key, inner_change -> 1);
    else
      if member.old_value is not null then before := before || jsonb_build_object(member.key, member.old_value); end if;
      if member.new_value is not null then after := after || jsonb_build_object(member.key, member.new_value); end if;
    end if;
  end loop;
  return jsonb_build_array(before, after);
end $$;

-- What the transaction says of who acts: { kind, id, requestId, address }. Without a word it is the platform itself.
create function audit_actor() returns jsonb language sql stable parallel safe
  return coalesce(nullif(current_setting('app.actor', true), '')::jsonb, '{"kind": "system"}');

-- Arguments: type of the entity, column of its id, column of its organization, columns that are left out.
create function audit_rows() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
declare actor jsonb := audit_actor();
begin
  insert into audit_log (tenant_id, actor_kind, actor_id, action, entity_type, entity_id, before, after, request_id, address)
  select coalesce((image ->> tg_argv[2])::uuid, app_tenant()), actor ->> 'kind', (actor ->> 'id')::uuid,
    case tg_op when 'INSERT' then 'created' else 'removed' end, tg_argv[0], image ->> tg_argv[1],
    case tg_op when 'DELETE' then audit_masked(image - tg_argv[3]::text[]) end,
    case tg_op when 'INSERT' then audit_masked(image - tg_argv[3]::text[]) end,
    actor ->> 'requestId', actor ->> 'address'
  from (select to_jsonb(changed_row) as image from changed_rows changed_row) images;
  return null;
end $$;

create function audit_change() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
declare
  actor jsonb := audit_actor();
  image jsonb := to_jsonb(new);
  difference jsonb := audit_difference(to_jsonb(old) - tg_argv[3]::text[], image - tg_argv[3]::text[]);
begin
  insert into audit_log (tenant_id, actor_kind, actor_id, action, entity_type, entity_id, before, after, request_id, address)
  values (coalesce((image ->> tg_argv[2])::uuid, app_tenant()), actor ->> 'kind', (actor ->> 'id')::uuid, 'changed',
    tg_argv[0], image ->> tg_argv[1], audit_masked(difference -> 0), audit_masked(difference -> 1),
    actor ->> 'requestId', actor ->> 'address');
  return null;
end $$;

-- Has every change of a table's rows written down, with the change. `unaudited`: columns that say nothing of the
-- configuration; a row in which only those change is not written down. `people_only`: what services do of themselves is not.
create procedure audit(target regclass, entity text, identified_by text default 'id',
  unaudited text[] default '{}', people_only boolean default false, tenant_column text default 'tenant_id')
language plpgsql set search_path = pg_catalog, public as $$
declare
  left_out text[] := unaudited || '{created_at,created_by,updated_at,updated_by,version}';
  arguments text := format('%L, %L, %L, %L', entity, identified_by, tenant_column, left_out);
  by_people text := case when people_only then $sql$coalesce(current_setting('app.actor', true), '') <> ''$sql$ else 'true' end;
  was text;
  becomes text;
begin
  select string_agg(format('old.%I', attname), ', ' order by attnum), string_agg(format('new.%I', attname), ', ' order by attnum)
    into was, becomes
  from pg_attribute
  where attrelid = target and attnum > 0 and not attisdropped and attname <> all(left_out);
  execute format('create trigger audit_insert after insert on %s referencing new table as changed_rows
    for each statement when (%s) execute function audit_rows(%s)', target, by_people, arguments);
  execute format('create trigger audit_delete after delete on %s referencing old table as changed_rows
    for each statement when (%s) execute function audit_rows(%s)', target, by_people, arguments);
  execute format('create trigger audit_update after update on %s for each row
    when (%s and row(%s) is distinct from row(%s)) execute function audit_change(%s)',
    target, by_people, was, becomes, arguments);
end $$;

-- What is no change of a row: who signed in, who was refused. Rows as { occurredAt, tenantId, actorKind, actorId, action,
-- entityType, entityId, detail, requestId, address, count }; they cannot pass for changes. Whose an account or a device is, is
-- looked up here and not where somebody who guesses could measure how long that takes.
create function audit_note(events jsonb) returns void language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
begin
  insert into audit_log (occurred_at, tenant_id, actor_kind, actor_id, action, entity_type, entity_id, after, request_id,
    address, count)
  select event."occurredAt", coalesce(event."tenantId",
      case event."entityType"
        when 'account' then (
          select membership.tenant_id from users account join memberships membership on membership.user_id = account.id
          where lower(account.email) = lower(event."entityId") order by is_default desc, membership.created_at limit 1)
        when 'device' then (
          select tenant_id from devices
          where pg_input_is_valid(event."entityId", 'uuid') and id = event."entityId"::uuid)
      end),
    event."actorKind", event."actorId", event.action, event."entityType", event."entityId", audit_masked(event.detail),
    event."requestId", event.address, coalesce(event.count, 1)
  from jsonb_to_recordset(events) as event ("occurredAt" timestamptz, "tenantId" uuid, "actorKind" text, "actorId" uuid,
    action text, "entityType" text, "entityId" text, detail jsonb, "requestId" text, address text, count int)
  where event.action not in ('created', 'changed', 'removed');
end $$;

call audit('organizations', 'organization', tenant_column => 'id');
call audit('users', 'user', unaudited => '{last_login_at}');
call audit('memberships', 'membership', 'user_id', unaudited => '{last_login_at}');
call audit('invitations', 'invitation', 'user_id');
call audit('external_identities', 'external_identity', 'user_id');
call audit('device_types', 'device_type');
call audit('device_type_versions', 'device_type_version', 'device_type_id');
call audit('protocol_converters', 'protocol_converter');
call audit('devices', 'device');
call audit('device_certificates', 'device_certificate', unaudited => '{certificate,first_used_at,told_days}');
call audit('device_api_keys', 'device_api_key', unaudited => '{last_used_at}');
call audit('spaces', 'space');
call audit('asset_types', 'asset_type');
call audit('asset_type_versions', 'asset_type_version', 'asset_type_id');
call audit('asset_profiles', 'asset_profile');
call audit('assets', 'asset');
call audit('asset_groups', 'asset_group');
call audit('asset_group_members', 'asset_group_member', 'group_id');
call audit('documents', 'document', unaudited => '{storage_key}');
call audit('entity_edges', 'link');
call audit('threshold_rules', 'rule');
call audit('threshold_rule_versions', 'rule_version', 'rule_id');
call audit('activity_types', 'activity_type');
call audit('activity_templates', 'activity_template');
call audit('schedules', 'schedule', unaudited => '{next_due_at,last_due_at}');
call audit('activities', 'activity', unaudited => '{published_at}', people_only => true);
call audit('activity_items', 'activity_item', 'activity_id', people_only => true);
call audit('webhook_secrets', 'webhook_secret', 'tenant_id', unaudited => '{previous}');
call audit('jobs', 'job', unaudited => '{epoch,progress,total,checkpoint,started_at,completed_at,error}');

-- What devices sent that nobody knows: for those who operate the platform, in a transaction that says so.
create policy unowned on telemetry_raw for select to argusiq_app
  using (tenant_id is null and current_setting('app.operator', true) = 'on');

-- What an event follows from, where that is sampled for tracing: whoever takes the event up goes on from there.
alter table system_events add column traceparent text;

revoke execute on function audit_is_secret, audit_masked, audit_difference, audit_actor, audit_rows, audit_change, audit_note
  from public;
revoke execute on procedure audit from public;
grant execute on function audit_note to argusiq_app, argusiq_pipeline;
grant select on audit_log to argusiq_app;

-- migrate:down

alter table system_events drop column traceparent;
drop policy unowned on telemetry_raw;
do $$
declare audited record;
begin
  for audited in
    select tgname, tgrelid::regclass as target from pg_trigger
    where tgfoid in ('audit_rows'::regproc, 'audit_change'::regproc) and not tgisinternal
  loop
    execute format('drop trigger %I on %s', audited.tgname, audited.target);
  end loop;
end $$;
drop procedure audit;
drop function audit_note, audit_change, audit_rows, audit_actor, audit_difference, audit_masked, audit_is_secret;
drop table audit_log;
