-- migrate:up

-- Chunks of messages that are not whole yet, and of those whose whole has just left. The owner of the partition that a
-- gateway's chunks come through is alone in writing here.
create table telemetry_chunks (
  tenant_id uuid not null,
  device_id uuid not null,
  correlation_id text not null,
  generation int not null,
  sequence_number int not null,
  total_chunks int not null,
  digest text not null, -- of the payload, hex: a redelivery has the same
  origin uuid, -- the replay or retry that sent it; null: the gateway itself
  payload bytea not null,
  key text not null,
  headers jsonb not null,
  topic text not null,
  partition int not null,
  "offset" bigint not null,
  received_at timestamptz not null,
  expires_at timestamptz not null,
  primary key (device_id, correlation_id, generation, sequence_number)
);
create index telemetry_chunks_partition on telemetry_chunks (topic, partition, expires_at);
call isolate('telemetry_chunks');

-- What became of each gateway message, the chunked ones from their first chunk. The id is the message id of the whole.
create table telemetry_transactions (
  id uuid primary key,
  tenant_id uuid not null,
  gateway_device_id uuid not null,
  correlation_id text not null,
  generation int not null default 0,
  chunk_count int, -- as announced; null: the message came in one
  total_logical_devices int,
  processed_devices int not null default 0,
  status text not null check (status in ('pending', 'processing', 'completed', 'failed')),
  claimed_at timestamptz, -- complete or failed for good
  emitted_at timestamptz, -- what the claim says has been published
  started_at timestamptz not null,
  completed_at timestamptz,
  error_message text,
  missing int[],
  assets uuid[],
  done uuid[],
  metadata jsonb not null default '{}'
);
create index telemetry_transactions_gateway on telemetry_transactions (gateway_device_id, started_at);
create index telemetry_transactions_tenant on telemetry_transactions (tenant_id, started_at);
-- The generations of a chunked message, and what waits for its last chunk or to be published.
create index telemetry_transactions_generation on telemetry_transactions (gateway_device_id, correlation_id, generation)
  where chunk_count is not null;
create index telemetry_transactions_unfinished on telemetry_transactions (gateway_device_id)
  where chunk_count is not null and emitted_at is null;
call isolate('telemetry_transactions');

grant select, insert, update, delete on telemetry_chunks to argusiq_pipeline;
grant select, insert, update on telemetry_transactions to argusiq_pipeline;
grant select on telemetry_transactions to argusiq_app;

-- migrate:down

drop table telemetry_transactions, telemetry_chunks;
