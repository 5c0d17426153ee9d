-- migrate:up

-- What the event engine knows of each device's connection, as of its last change; what was seen of a device since then is in
-- device_status.
create table device_connections (
  device_id uuid primary key,
  tenant_id uuid not null,
  partition int not null, -- that its messages come through: a child's are those of its gateway
  revision int not null, -- an older state never replaces a newer one
  status text not null check (status in ('online', 'offline', 'unknown')),
  changed_at timestamptz,
  seen_at timestamptz,
  connected_at timestamptz,
  disconnected_at timestamptz,
  disconnect_reason text,
  connection_id text, -- of the latest connection
  foreign key (tenant_id, device_id) references devices (tenant_id, id) on delete cascade
) with (fillfactor = 50);
create index device_connections_partition on device_connections (partition);
call isolate('device_connections');

-- Time in which no bridge accepted anything: no silence of the devices.
create table ingest_gaps (
  "from" timestamptz primary key,
  "to" timestamptz not null,
  check ("to" > "from")
);
create index ingest_gaps_to on ingest_gaps ("to");

-- Until when messages were accepted, gaps excepted. Nothing is known of the time before the first bridge has told.
create table ingest_heartbeat (
  only_row boolean primary key default true check (only_row),
  accepted_until timestamptz not null
) with (fillfactor = 50);
insert into ingest_heartbeat (accepted_until) values ('epoch');

grant select, insert, update on device_connections, ingest_gaps to argusiq_pipeline;
grant select, update on ingest_heartbeat to argusiq_pipeline;

-- migrate:down

drop table ingest_heartbeat, ingest_gaps, device_connections;
