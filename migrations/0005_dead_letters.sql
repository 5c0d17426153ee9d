-- migrate:up

-- What lies on the dead-letter topics, to be searched and retried. The topics stay the truth: the payload is read from there.
create table dead_letters (
  id uuid primary key,
  tenant_id uuid, -- null: nobody can tell whose message it was
  "group" text not null,
  stage text not null,
  reason text not null,
  message text not null,
  path text,
  entry int, -- of the message; null: the whole
  device_id uuid,
  message_id uuid,
  topic text not null, -- the dead-letter topic, and where in it the last record of this dead letter lies
  partition int not null,
  "offset" bigint not null,
  headers jsonb not null,
  size int not null,
  attempts int not null, -- how often it has failed
  failed_at timestamptz not null,
  received_at timestamptz not null,
  -- open; queued: somebody asked for a retry; publishing: it may be on the bus; retrying: it is, its group has not come to
  -- it; resolved: its group has taken it
  state text not null default 'open' check (state in ('open', 'queued', 'publishing', 'retrying', 'resolved')),
  retries int not null default 0,
  retried_at timestamptz,
  retried_by uuid,
  retry_entry int,
  config_at timestamptz,
  retry_topic text,
  retry_partition int,
  retry_from bigint, -- the retry lies at this offset or later
  retry_until bigint, -- and before this one
  resolved_at timestamptz
) with (fillfactor = 80);
create index dead_letters_tenant on dead_letters (tenant_id, received_at, id);
create index dead_letters_reason on dead_letters (reason);
create index dead_letters_device on dead_letters (device_id, received_at);
create index dead_letters_message on dead_letters (message_id);
create index dead_letters_place on dead_letters (topic, partition, "offset");
create index dead_letters_unresolved on dead_letters (topic, tenant_id) where state <> 'resolved';
create index dead_letters_under_way on dead_letters (state) where state in ('queued', 'publishing', 'retrying');
call isolate('dead_letters');
-- What belongs to nobody is for those who operate the platform, in a transaction that says so.
create policy unowned on dead_letters to argusiq_app
  using (tenant_id is null and current_setting('app.operator', true) = 'on')
  with check (tenant_id is null and current_setting('app.operator', true) = 'on');

-- Whether a tenant's dead letters are many in a topic: an event tells when that begins.
create table dead_letter_levels (
  tenant_id uuid not null references organizations,
  topic text not null,
  since timestamptz not null,
  primary key (tenant_id, topic)
);
call isolate('dead_letter_levels');

grant select, insert, update, delete on dead_letters, dead_letter_levels to argusiq_pipeline;
grant select, update (state, retries, retried_at, retried_by, retry_entry, config_at) on dead_letters to argusiq_app;

-- migrate:down

drop table dead_letter_levels, dead_letters;
