-- migrate:up

-- How bytes of other protocols become a document, written once for many device types. A version of a device type keeps
-- a copy of what it was published with, so that a change here changes no message that came before.
create table protocol_converters (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  name text not null,
  description text not null default '',
  source_protocol text not null check (source_protocol in ('modbus', 'opcua', 'bacnet', 'raw')),
  target_schema jsonb, -- JSON Schema of the document; null: none
  transformation_rules jsonb not null,
  is_active boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by uuid references users,
  updated_by uuid references users,
  version int not null default 1,
  unique (tenant_id, name)
);
call isolate('protocol_converters');
grant select, insert, update, delete on protocol_converters to argusiq_app;

-- The names that devices gave to the numbers by which they speak of their metrics, from the message received then until
-- the next row. By received-at and not only the newest, so that a message handled again has the names of its own time.
create table device_aliases (
  device_id uuid not null,
  received_at timestamptz not null,
  tenant_id uuid not null references organizations,
  digest text not null, -- SHA-256 of the aliases, hex
  aliases text not null, -- JSON; names may hold what jsonb does not
  primary key (device_id, received_at)
);
call isolate('device_aliases');
grant select, insert, update, delete on device_aliases to argusiq_pipeline;

-- migrate:down

drop table device_aliases, protocol_converters;
