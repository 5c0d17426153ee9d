-- migrate:up

-- A child's insertion looks its parent up by tenant and id. While the table has no statistics every unique index that begins
-- with the tenant looks as good for that as the one by tenant and id, and the wrong one reads all of a tenant's devices for
-- each child. So no other one begins with the tenant.
alter table devices
  drop constraint devices_tenant_id_serial_number_key,
  drop constraint devices_tenant_id_external_id_key,
  drop constraint devices_tenant_id_parent_device_id_logical_identifier_key,
  add constraint devices_serial_number_tenant_id_key unique (serial_number, tenant_id),
  add constraint devices_external_id_tenant_id_key unique (external_id, tenant_id),
  add constraint devices_parent_device_id_logical_identifier_tenant_id_key
    unique (parent_device_id, logical_identifier, tenant_id);
drop index devices_parent;

-- migrate:down

create index devices_parent on devices (parent_device_id);
alter table devices
  drop constraint devices_serial_number_tenant_id_key,
  drop constraint devices_external_id_tenant_id_key,
  drop constraint devices_parent_device_id_logical_identifier_tenant_id_key,
  add constraint devices_tenant_id_serial_number_key unique (tenant_id, serial_number),
  add constraint devices_tenant_id_external_id_key unique (tenant_id, external_id),
  add constraint devices_tenant_id_parent_device_id_logical_identifier_key
    unique (tenant_id, parent_device_id, logical_identifier);
