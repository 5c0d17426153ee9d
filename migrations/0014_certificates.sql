-- migrate:up

-- What the installation's authority has issued. A row outlives its device: a revocation must be told until the certificate
-- itself has ended, so there is no foreign key to devices.
create table device_certificates (
  id uuid primary key,
  tenant_id uuid not null references organizations,
  device_id uuid not null,
  serial_number text not null unique, -- hex
  fingerprint text not null unique, -- SHA-256 of the certificate, hex
  public_key_digest text not null, -- SHA-256 of its public key, hex
  certificate text not null, -- PEM
  valid_from timestamptz not null,
  valid_until timestamptz not null,
  accepted_until timestamptz not null, -- its end, or that of the overlap once it is renewed
  renewed_at timestamptz,
  replaced_by uuid,
  revoked_at timestamptz,
  revoked_reason text,
  first_used_at timestamptz,
  told_days int, -- of the steps at which people are told of its end, the last one told
  created_at timestamptz not null default now(),
  created_by uuid references users,
  check ((renewed_at is null) = (replaced_by is null))
);
create unique index device_certificates_current on device_certificates (device_id)
  where revoked_at is null and replaced_by is null;
create index device_certificates_device on device_certificates (device_id, created_at);
create index device_certificates_tenant on device_certificates (tenant_id, created_at);
create index device_certificates_key on device_certificates (public_key_digest);
create index device_certificates_end on device_certificates (valid_until) where revoked_at is null;
call isolate('device_certificates');

-- A device's private key on its way to a person: sealed, fetched once, erased when it was or when its time is over.
create table certificate_bundles (
  certificate_id uuid primary key references device_certificates on delete cascade,
  tenant_id uuid not null references organizations,
  device_id uuid not null,
  token_hash text not null unique, -- SHA-256, hex
  sealed bytea, -- null: erased
  expires_at timestamptz not null,
  used_at timestamptz,
  created_at timestamptz not null default now()
);
create index certificate_bundles_end on certificate_bundles (expires_at);
call isolate('certificate_bundles');

-- Who fetches has the token and nothing else, so there is no tenant yet. Of two that come at once one gets it.
create function take_certificate_bundle(of_device uuid, with_token text)
returns table (certificate_id uuid, sealed bytea) language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
declare taken record;
begin
  select bundle.certificate_id, bundle.sealed into taken
  from certificate_bundles bundle
  where bundle.device_id = of_device and bundle.token_hash = with_token and bundle.sealed is not null
    and bundle.used_at is null and bundle.expires_at > now()
    and exists (select from device_certificates one where one.id = bundle.certificate_id and one.revoked_at is null)
  for update;
  if not found then return; end if;
  update certificate_bundles bundle set used_at = now(), sealed = null
  where bundle.certificate_id = taken.certificate_id;
  return query select taken.certificate_id, taken.sealed;
end $$;

-- A device that is out of service, or gone, has no certificate any more, however that came.
create function end_certificates() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
begin
  update device_certificates one set revoked_at = now(), revoked_reason = 'cessationOfOperation'
  from changed_rows device
  where one.device_id = device.id and one.revoked_at is null
    and (tg_op = 'DELETE' or device.status = 'decommissioned');
  return null;
end $$;
create trigger devices_end_certificates_updated after update on devices referencing new table as changed_rows
  for each statement execute function end_certificates();
create trigger devices_end_certificates_deleted after delete on devices referencing old table as changed_rows
  for each statement execute function end_certificates();

create trigger device_certificates_inserted after insert on device_certificates referencing new table as changed_rows
  for each statement execute function note_profile_change('device', 'device_id');
create trigger device_certificates_deleted after delete on device_certificates referencing old table as changed_rows
  for each statement execute function note_profile_change('device', 'device_id');

-- That one was used, or that its end was told, changes nothing that a cache holds.
create function note_certificate_change() returns trigger language plpgsql security definer
set search_path = pg_catalog, public, pg_temp as $$
declare sequence bigint; changed_id uuid;
begin
  for changed_id in
    select distinct after.device_id from old_rows before join new_rows after using (id)
    where (before.accepted_until, before.revoked_at) is distinct from (after.accepted_until, after.revoked_at)
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
create trigger device_certificates_updated after update on device_certificates
  referencing old table as old_rows new table as new_rows
  for each statement execute function note_certificate_change();

revoke execute on function take_certificate_bundle, end_certificates, note_certificate_change from public;
grant execute on function take_certificate_bundle to argusiq_app;
grant select, insert, update on device_certificates, certificate_bundles to argusiq_app;
grant select on device_certificates, certificate_bundles to argusiq_pipeline;
grant update (first_used_at, told_days) on device_certificates to argusiq_pipeline;
grant update (sealed), delete on certificate_bundles to argusiq_pipeline;

-- migrate:down

drop trigger devices_end_certificates_updated on devices;
drop trigger devices_end_certificates_deleted on devices;
drop table certificate_bundles, device_certificates;
drop function take_certificate_bundle, end_certificates, note_certificate_change;
