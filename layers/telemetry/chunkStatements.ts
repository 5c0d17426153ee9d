/**
 * The statements on telemetry_chunks, and on what the chunker alone writes of telemetry_transactions: its claims.
 * @module
 */

export const storeStatement = `
insert into telemetry_chunks (tenant_id, device_id, correlation_id, generation, sequence_number, total_chunks, digest, origin,
  payload, key, headers, topic, partition, "offset", received_at, expires_at)
select tenant_id, device_id, correlation_id, generation, sequence_number, total_chunks, digest, origin, payload, key,
  headers::jsonb, topic, partition, "offset", received_at, expires_at
from unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::int[], $6::int[], $7::text[], $8::uuid[], $9::bytea[],
    $10::text[], $11::text[], $12::text[], $13::int[], $14::bigint[], $15::timestamptz[], $16::timestamptz[])
  as chunk (tenant_id, device_id, correlation_id, generation, sequence_number, total_chunks, digest, origin, payload, key,
    headers, topic, partition, "offset", received_at, expires_at)
on conflict do nothing`

/** A claim is final, and what it asks for leaves before anything else is written: its commit waits for the flush. */
export const claimStatement = `
update telemetry_transactions set claimed_at = now() from set_config('synchronous_commit', 'on', true)
where id = any($1::uuid[]) and claimed_at is null`

/** One for each group that failed, in the transaction of its claim. */
export const timeoutEventStatement = `
insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at, payload)
select event.id, event.tenant_id, 'CHUNK_TIMEOUT', 'device', event.device_id, 'warning', event.occurred_at, event.payload::jsonb
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::timestamptz[], $5::text[])
    as event (id, tenant_id, device_id, occurred_at, payload)
  join organizations on organizations.id = event.tenant_id
on conflict (id) do nothing`

/** In the order of the ids, as all who lock several transactions do. */
export const emitStatement = `
with held as (select id from telemetry_transactions where id = any($1::uuid[]) order by id for update)
update telemetry_transactions as transaction set emitted_at = now() from held
where transaction.id = held.id and emitted_at is null`

const micros = (value: string) => `(extract(epoch from ${value}) * 1000000)::bigint`

/** What a group is, from its row in telemetry_transactions and those of its chunks; `from` names them `transaction` and `chunk`. */
const groups = (from: string) => `
select transaction.tenant_id, transaction.gateway_device_id as gateway_id, transaction.correlation_id, transaction.generation,
  transaction.chunk_count as total, transaction.claimed_at is not null as claimed, transaction.missing is not null as failed,
  ${micros("transaction.emitted_at")} as emitted_at, ${micros("transaction.started_at")} as started_at,
  ${micros("chunk.received_at")} as received_at, ${micros("chunk.expires_at")} as expires_at, chunk.bytes,
  chunk.sequences, chunk.digests, chunk.origins
from ${from}, lateral (
  select max(received_at) as received_at, min(expires_at) as expires_at, sum(octet_length(payload)) as bytes,
    array_agg(sequence_number) as sequences, array_agg(digest) as digests, array_agg(origin) as origins
  from telemetry_chunks
  where device_id = transaction.gateway_device_id and correlation_id = transaction.correlation_id
    and generation = transaction.generation
) as chunk`

/** Of one partition of so many, also where a row's number is of a log that had a multiple of them: a group's chunks all came through the same. */
export const unfinishedStatement = `${groups("telemetry_transactions as transaction")}
where transaction.chunk_count is not null and transaction.emitted_at is null and (
  select topic = $1 and partition % $3::int = $2 from telemetry_chunks
  where device_id = transaction.gateway_device_id and correlation_id = transaction.correlation_id
    and generation = transaction.generation
  limit 1)`

export const latestStatement = groups(`
  unnest($1::uuid[], $2::text[]) as wanted (gateway_id, correlation_id), lateral (
    select * from telemetry_transactions
    where gateway_device_id = wanted.gateway_id and correlation_id = wanted.correlation_id and chunk_count is not null
    order by generation desc limit 1
  ) as transaction`)

/** Whatever their generation. */
export const repeatedStatement = `
select place::int
from unnest($1::uuid[], $2::text[], $3::int[], $4::text[], $5::uuid[]) with ordinality
  as sent (device_id, correlation_id, sequence_number, digest, origin, place)
where exists (
  select from telemetry_chunks as chunk
  where (chunk.device_id, chunk.correlation_id, chunk.sequence_number, chunk.digest, chunk.origin)
    = (sent.device_id, sent.correlation_id, sent.sequence_number, sent.digest, sent.origin))`

export const readStatement = `
select place::int, sequence_number, payload, key, headers, topic, partition, "offset",
  ${micros("received_at")} as received_at
from unnest($1::uuid[], $2::text[], $3::int[]) with ordinality as wanted (device_id, correlation_id, generation, place)
  join telemetry_chunks using (device_id, correlation_id, generation)
order by place, sequence_number`

/** Chunks of groups whose whole or dead letters left long ago. */
export const forgetStatement = `
delete from telemetry_chunks as chunk using (
  select device_id, correlation_id, generation, sequence_number from telemetry_chunks as old
  where topic = $1 and partition = $2 and expires_at < $3::timestamptz and not exists (
    select from telemetry_transactions
    where gateway_device_id = old.device_id and correlation_id = old.correlation_id and generation = old.generation
      and chunk_count is not null and emitted_at is null)
  order by expires_at limit $4::int
) as forgotten
where (chunk.device_id, chunk.correlation_id, chunk.generation, chunk.sequence_number)
  = (forgotten.device_id, forgotten.correlation_id, forgotten.generation, forgotten.sequence_number)`
