-- migrate:up

-- Lists are read in one of these orders, a page at a time: without them a page costs as much as the whole table.
create index devices_by_name on devices (tenant_id, name, id);
create index devices_by_age on devices (tenant_id, created_at, id);
create index assets_by_name on assets (tenant_id, name, id);
create index assets_by_age on assets (tenant_id, created_at, id);

-- migrate:down

drop index devices_by_name, devices_by_age, assets_by_name, assets_by_age;
