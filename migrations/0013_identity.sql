-- migrate:up

-- A user as one organization knows it: its administrators name, disable and remove a member without touching the account,
-- which may belong to other organizations too.
alter table memberships
  add name text, -- null: as the account
  add status text not null default 'active' check (status in ('active', 'disabled')),
  add is_external boolean not null default false, -- made by an identity provider: no password opens it
  add last_login_at timestamptz,
  add updated_at timestamptz not null default now(),
  add version int not null default 1;
update memberships set last_login_at = users.last_login_at from users where users.id = memberships.user_id;
create index memberships_tenant on memberships (tenant_id);

alter table users add password_is_temporary boolean not null default false; -- somebody else knows it

-- A membership of an account that was there before. It opens nothing until the account's holder shows the password that the
-- organization's administrator gave: who made an account with somebody's address does not get in where that person is added.
create table invitations (
  tenant_id uuid not null references organizations,
  user_id uuid not null references users,
  password_hash text not null,
  created_at timestamptz not null default now(),
  primary key (tenant_id, user_id),
  foreign key (user_id, tenant_id) references memberships (user_id, tenant_id) on delete cascade on update cascade
);
call isolate('invitations');
create policy own on invitations for select to argusiq_app using (user_id = app_user());

-- Who somebody is at an identity provider.
create table external_identities (
  issuer text not null,
  subject text not null,
  user_id uuid not null references users,
  created_at timestamptz not null default now(),
  primary key (issuer, subject)
);
create index external_identities_user on external_identities (user_id);

-- A session is a family of refresh tokens. Access tokens name it and its generation; one of an earlier generation, or of an
-- ended session, is refused.
create table sessions (
  id uuid primary key,
  user_id uuid not null references users,
  tenant_id uuid not null references organizations,
  generation int not null default 0,
  address text,
  user_agent text,
  created_at timestamptz not null default now(),
  last_used_at timestamptz not null default now(),
  expires_at timestamptz not null,
  ended_at timestamptz,
  end_reason text,
  change bigint not null default 0, -- number of the last change that refuses access tokens, in commit order
  changed_at timestamptz
);
create index sessions_user on sessions (user_id);
create index sessions_tenant on sessions (tenant_id);
create index sessions_change on sessions (change) where change > 0;
create index sessions_expires on sessions (expires_at);
call isolate('sessions');
create policy own on sessions to argusiq_app using (user_id = app_user()) with check (user_id = app_user());

insert into sessions (id, user_id, tenant_id, created_at, last_used_at, expires_at, ended_at, end_reason)
select distinct on (family) family, user_id, tenant_id, min(created_at) over of_family, max(created_at) over of_family,
  max(expires_at) over of_family, max(revoked_at) over of_family,
  case when max(revoked_at) over of_family is not null then 'signed out' end
from refresh_tokens window of_family as (partition by family);
alter table refresh_tokens drop column revoked_at,
  add foreign key (family) references sessions (id) on delete cascade;

-- The number moves in commit order: a bump holds its row until its transaction ends.
insert into change_sequence values ('sessions', 0);
create function note_session_change() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
begin
  if new.generation is distinct from old.generation or (new.ended_at is not null and old.ended_at is null) then
    update change_sequence set number = number + 1 where scope = 'sessions' returning number into new.change;
    new.changed_at := clock_timestamp();
  end if;
  return new;
end $$;
create trigger sessions_changed before update on sessions for each row execute function note_session_change();

-- Whoever changes what a session rests on, by whatever way, ends it or has its access tokens issued anew.
create function end_sessions_of_user() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
begin
  if new.status <> 'active' then
    update sessions set ended_at = now(), end_reason = 'user disabled' where user_id = new.id and ended_at is null;
  else
    update sessions set generation = generation + 1 where user_id = new.id and ended_at is null;
  end if;
  return null;
end $$;
create trigger users_sessions after update on users for each row
  when (new.status is distinct from old.status or new.is_platform_admin is distinct from old.is_platform_admin)
  execute function end_sessions_of_user();

create function end_sessions_of_member() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
begin
  if tg_op = 'UPDATE' and new.status = 'active' and new.tenant_id = old.tenant_id and new.user_id = old.user_id then
    update sessions set generation = generation + 1
    where user_id = old.user_id and tenant_id = old.tenant_id and ended_at is null;
  else
    update sessions set ended_at = now(),
      end_reason = case when tg_op = 'DELETE' then 'membership removed' else 'membership disabled' end
    where user_id = old.user_id and tenant_id = old.tenant_id and ended_at is null;
  end if;
  return null;
end $$;
create trigger memberships_sessions after update on memberships for each row
  when ((new.role, new.status, new.tenant_id, new.user_id) is distinct from
    (old.role, old.status, old.tenant_id, old.user_id))
  execute function end_sessions_of_member();
create trigger memberships_removed after delete on memberships for each row execute function end_sessions_of_member();

create function end_sessions_of_organization() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
begin
  update sessions set ended_at = now(), end_reason = 'organization suspended'
  where tenant_id = new.id and ended_at is null;
  return null;
end $$;
create trigger organizations_sessions after update on organizations for each row
  when (new.status is distinct from old.status and new.status <> 'active')
  execute function end_sessions_of_organization();

-- Devices of a suspended organization are nobody's. A number that moves without pushes empties the caches.
create function note_organization_status() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
begin
  update change_sequence set number = number + 1 where scope = 'profiles';
  return null;
end $$;
create trigger organizations_status after update on organizations for each row
  when (new.status is distinct from old.status)
  execute function note_organization_status();

revoke execute on function note_session_change, end_sessions_of_user, end_sessions_of_member,
  end_sessions_of_organization, note_organization_status from public;
grant select, insert, update on sessions to argusiq_app;
grant select, insert, update, delete on invitations to argusiq_app;
grant select, insert on external_identities to argusiq_app;
grant select (id, generation, ended_at, change, changed_at) on sessions to argusiq_pipeline;

-- migrate:down

drop trigger organizations_status on organizations;
drop trigger organizations_sessions on organizations;
drop trigger memberships_removed on memberships;
drop trigger memberships_sessions on memberships;
drop trigger users_sessions on users;
create temporary table kept on commit drop as
select token.id, token.user_id, token.tenant_id, family, token_hash, token.expires_at, used_at, ended_at as revoked_at,
  token.created_at
from refresh_tokens token join sessions session on session.id = token.family;
drop table refresh_tokens, sessions, invitations, external_identities;
drop function note_session_change, end_sessions_of_user, end_sessions_of_member, end_sessions_of_organization,
  note_organization_status;
delete from change_sequence where scope = 'sessions';
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
grant select, insert, update on refresh_tokens to argusiq_app;
insert into refresh_tokens select * from kept;
drop table kept;
alter table users drop column password_is_temporary;
drop index memberships_tenant;
alter table memberships drop column name, drop column status, drop column is_external, drop column last_login_at,
  drop column updated_at, drop column version;
