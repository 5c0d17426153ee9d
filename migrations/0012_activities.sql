-- migrate:up

create table activity_types (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  name text not null,
  description text not null default '',
  icon text,
  color text,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by uuid references users,
  updated_by uuid references users,
  version int not null default 1,
  unique (tenant_id, name),
  unique (tenant_id, id)
);
call isolate('activity_types');

create table activity_templates (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  activity_type_id uuid not null,
  name text not null,
  description text not null default '',
  trigger_event_type text not null, -- of an event, or MANUAL: only people and schedules use it
  filter jsonb not null default '{}',
  priority int check (priority between 1 and 5), -- null: from the event's severity
  assigned_role text check (assigned_role in ('admin', 'manager', 'engineer', 'technician', 'viewer')),
  assigned_user_id uuid references users,
  due_in_hours float8 check (due_in_hours > 0), -- null: without a due date
  checklist jsonb not null default '[]',
  custom_attributes jsonb not null default '{}',
  is_active boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by uuid references users,
  updated_by uuid references users,
  version int not null default 1,
  unique (tenant_id, name),
  unique (tenant_id, id),
  foreign key (tenant_id, activity_type_id) references activity_types (tenant_id, id)
);
create index activity_templates_trigger on activity_templates (tenant_id, trigger_event_type) where is_active;
create index activity_templates_type on activity_templates (activity_type_id);
call isolate('activity_templates');

-- Maintenance that comes again. An occurrence is made once: the activity's id comes from the schedule and its instant.
create table schedules (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  template_id uuid not null,
  name text not null,
  target_type text check (target_type in ('device', 'asset')),
  target_id uuid,
  every int not null check (every between 1 and 1000),
  unit text not null check (unit in ('days', 'weeks', 'months')),
  starts_on text not null, -- YYYY-MM-DD, the first occurrence's day in the time zone
  ends_on text, -- the last day that may have one
  local_time text not null, -- HH:MM in the time zone
  time_zone text not null, -- IANA
  next_due_at timestamptz, -- null: there is none any more
  last_due_at timestamptz, -- of the last occurrence that became an activity
  is_active boolean not null default true,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by uuid references users,
  updated_by uuid references users,
  version int not null default 1,
  unique (tenant_id, name),
  check ((target_type is null) = (target_id is null)),
  foreign key (tenant_id, template_id) references activity_templates (tenant_id, id)
);
create index schedules_due on schedules (next_due_at) where is_active and next_due_at is not null;
create index schedules_template on schedules (template_id);
call isolate('schedules');

-- Published by a relay from here. What an activity comes from and is about outlives it: no foreign keys to those.
create table activities (
  id uuid primary key,
  sequence bigint generated always as identity unique,
  tenant_id uuid not null references organizations,
  activity_type_id uuid not null,
  template_id uuid,
  schedule_id uuid,
  event_id uuid, -- that it was made for
  alarm_id uuid, -- of that event
  target_type text check (target_type in ('device', 'asset', 'organization')),
  target_id uuid,
  name text not null,
  description text not null default '',
  priority int not null check (priority between 1 and 5), -- 1 is the most urgent
  state text not null default 'pending' check (state in ('pending', 'in_progress', 'completed', 'cancelled')),
  assigned_role text check (assigned_role in ('admin', 'manager', 'engineer', 'technician', 'viewer')),
  assigned_user_id uuid references users,
  due_at timestamptz,
  started_at timestamptz,
  started_by uuid references users,
  ended_at timestamptz, -- completed or cancelled
  ended_by uuid references users,
  note text not null default '', -- said when it was completed or cancelled
  custom_attributes jsonb not null default '{}',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  created_by uuid references users,
  updated_by uuid references users,
  version int not null default 1, -- 1: nobody has touched it
  published_at timestamptz,
  check ((target_type is null) = (target_id is null)),
  check ((state in ('completed', 'cancelled')) = (ended_at is not null)),
  foreign key (tenant_id, activity_type_id) references activity_types (tenant_id, id)
);
create index activities_tenant on activities (tenant_id, created_at);
create index activities_target on activities (target_id, created_at);
create index activities_open on activities (template_id, target_id) where state in ('pending', 'in_progress');
create index activities_due on activities (tenant_id, due_at) where state in ('pending', 'in_progress');
create index activities_type on activities (activity_type_id);
create index activities_unpublished on activities (sequence) where published_at is null;
call isolate('activities');

create table activity_items (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  activity_id uuid not null references activities on delete cascade,
  position int not null,
  item text not null,
  required boolean not null,
  note text not null default '',
  done_at timestamptz,
  done_by uuid references users,
  unique (activity_id, position)
);
call isolate('activity_items');

-- Which events an activity stands for: the one that it was made for, and those that joined it. Stays when the activity goes,
-- so that an event that is delivered again makes nothing again.
create table activity_events (
  event_id uuid not null,
  template_id uuid not null,
  tenant_id uuid not null references organizations,
  activity_id uuid not null,
  event_type text not null,
  severity text not null,
  alarm_id uuid,
  retracted boolean not null default false, -- the alarm was
  occurred_at timestamptz not null,
  primary key (event_id, template_id)
);
create index activity_events_alarm on activity_events (alarm_id) where alarm_id is not null;
create index activity_events_activity on activity_events (activity_id, occurred_at);
call isolate('activity_events');

-- One per source (an event; an activity that comes from none) and channel, whoever it goes to.
create table notifications (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  source_id uuid not null,
  channel text not null check (channel in ('in_app', 'email')),
  event_id uuid,
  activity_id uuid,
  recipients text[] not null, -- ids of users, e-mail addresses (lower case) and roles
  title text not null,
  body text not null,
  severity text not null check (severity in ('info', 'low', 'warning', 'medium', 'high', 'critical')),
  state text not null check (state in ('pending', 'delivered', 'failed', 'off')), -- off: the channel is not set up
  attempts int not null default 0,
  first_attempt_at timestamptz,
  next_at timestamptz not null default now(),
  delivered_to text[] not null default '{}',
  refused text[] not null default '{}', -- addresses that the mail server never takes
  error text,
  created_at timestamptz not null default now(),
  ended_at timestamptz,
  unique (source_id, channel)
);
create index notifications_recipients on notifications using gin (recipients) where channel = 'in_app';
create index notifications_tenant on notifications (tenant_id, created_at);
create index notifications_due on notifications (next_at) where state = 'pending';
call isolate('notifications');

create table notification_reads (
  notification_id uuid not null references notifications on delete cascade,
  user_id uuid not null references users,
  tenant_id uuid not null references organizations,
  read_at timestamptz not null default now(),
  primary key (notification_id, user_id)
);
call isolate('notification_reads');

create table webhook_deliveries (
  id uuid primary key, -- the idempotency key
  tenant_id uuid not null references organizations,
  event_id uuid not null,
  event_type text not null,
  url text not null,
  body text not null, -- as it is signed and sent, the same at each attempt
  state text not null default 'pending' check (state in ('pending', 'delivered', 'failed')),
  attempts int not null default 0,
  first_attempt_at timestamptz,
  next_at timestamptz not null default now(),
  last_status int, -- of HTTP
  error text,
  created_at timestamptz not null default now(),
  ended_at timestamptz,
  unique (event_id, url)
);
create index webhook_deliveries_tenant on webhook_deliveries (tenant_id, created_at);
create index webhook_deliveries_due on webhook_deliveries (next_at) where state = 'pending';
call isolate('webhook_deliveries');

-- What an organization's webhooks are signed with. After a change both are used until `previous_until`.
create table webhook_secrets (
  tenant_id uuid primary key references organizations,
  secret text not null,
  previous text,
  previous_until timestamptz,
  updated_at timestamptz not null default now()
);
call isolate('webhook_secrets');

grant select, insert, update, delete on activity_types, activity_templates, schedules, activities, activity_items
  to argusiq_app;
grant select on activity_events, webhook_deliveries to argusiq_app;
grant select, insert on notifications to argusiq_app;
grant select, insert, delete on notification_reads to argusiq_app;
grant update (state, next_at, first_attempt_at, ended_at) on webhook_deliveries to argusiq_app;
grant select, insert, update on webhook_secrets to argusiq_app;
grant select on activity_types, activity_templates, memberships to argusiq_pipeline;
grant select (id, email, status) on users to argusiq_pipeline;
grant select, update on schedules to argusiq_pipeline;
grant select, insert, update on activities, activity_items to argusiq_pipeline;
grant select, insert, update on activity_events to argusiq_pipeline;
grant select, insert, update, delete on notifications, webhook_deliveries to argusiq_pipeline;
grant select, insert on webhook_secrets to argusiq_pipeline;

-- migrate:down

revoke select on memberships from argusiq_pipeline;
revoke select (id, email, status) on users from argusiq_pipeline;
drop table webhook_secrets, webhook_deliveries, notification_reads, notifications, activity_events, activity_items, activities,
  schedules, activity_templates, activity_types;
