-- migrate:up

-- Where an alarm began when it was told first, which its id comes of: the id of another that begins there must differ.
alter table alarms add column first_started_at timestamptz; -- null: where it began

-- migrate:down

alter table alarms drop column first_started_at;
