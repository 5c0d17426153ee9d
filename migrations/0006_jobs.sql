-- migrate:up

-- Work on what has happened already, asked for by somebody: it survives restarts, since what it has done is written here.
create table jobs (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  kind text not null check (kind in ('replay', 'reprocess', 'rebuild', 'import', 'export')),
  parameters jsonb not null,
  state text not null default 'queued' check (state in ('queued', 'running', 'completed', 'failed', 'cancelled')),
  epoch bigint not null default 0, -- raised by whoever takes the job up: who holds a lower one has lost it
  progress bigint not null default 0,
  total bigint, -- an estimate; null: unknown
  checkpoint jsonb, -- where to go on; null: at the beginning
  error text, -- why it failed, was cancelled or waits, and what to do
  created_at timestamptz not null default now(),
  created_by uuid references users,
  started_at timestamptz,
  completed_at timestamptz
);
create index jobs_tenant on jobs (tenant_id, created_at);
create index jobs_waiting on jobs (created_at) where state in ('queued', 'running');
call isolate('jobs');

-- Rows of one time lie together, in the order in which they were received: an index of block ranges finds them and costs a
-- writer next to nothing.
create index telemetry_raw_received on telemetry_raw using brin (received_at)
  with (pages_per_range = 16, autosummarize = on);
create index telemetry_frames_received on telemetry_frames using brin (received_at timestamptz_minmax_multi_ops)
  with (pages_per_range = 16, autosummarize = on);

grant select, insert, update on jobs to argusiq_app;
grant select, update on jobs to argusiq_pipeline;
grant delete on entity_latest to argusiq_pipeline;

-- migrate:down

revoke delete on entity_latest from argusiq_pipeline;
drop index telemetry_frames_received, telemetry_raw_received;
drop table jobs;
