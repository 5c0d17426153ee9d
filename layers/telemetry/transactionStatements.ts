/**
 * How a transaction moves on, whoever tells of it first: statuses only forward, numbers as far as they are known.
 * @module
 */
import { transactionStatuses } from "@argusiq/domain/transactions.ts"

const rank = (status: string) => `array_position(array[${transactionStatuses.map((one) => `'${one}'`)}], ${status})`

/** Nothing of all that the message listed was stored, or something, or there was nothing. */
const ended = (processed: string, total: string) =>
  `case when ${processed} = 0 and ${total} > 0 then 'failed' else 'completed' end`

/** What went wrong with some is put right once all are stored. */
const remainingError = (processed: string, total: string, error: string) =>
  `case when ${processed} >= ${total} then null else ${error} end`

const total = "coalesce(excluded.total_logical_devices, held.total_logical_devices)"
/** A retry of one entry adds to what was stored before; the message as a whole, again, does not. */
const stored = "coalesce((select devices from fresh where fresh.message_id = held.id), 0)"
const processed = `least(greatest(held.processed_devices + ${stored}, excluded.processed_devices), held.total_logical_devices)`
const startedAt = "started_at = least(held.started_at, excluded.started_at)"

/** One row for each id. In the order of the ids: all who write several rows take their locks in this order. */
export const advanceStatement = `
insert into telemetry_transactions as held (id, tenant_id, gateway_device_id, correlation_id, generation, chunk_count,
  total_logical_devices, status, started_at, completed_at, error_message, missing)
select id, tenant_id, gateway_device_id, correlation_id, generation, chunk_count, total_logical_devices, status, started_at,
  case when status = 'failed' then now() end, error_message, missing::int[]
from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::int[], $6::int[], $7::int[], $8::text[], $9::timestamptz[],
    $10::text[], $11::text[])
  as told (id, tenant_id, gateway_device_id, correlation_id, generation, chunk_count, total_logical_devices, status,
    started_at, error_message, missing)
order by id
on conflict (id) do update set
  generation = greatest(held.generation, excluded.generation),
  chunk_count = coalesce(excluded.chunk_count, held.chunk_count),
  total_logical_devices = ${total},
  ${startedAt},
  status = case
    when held.status = 'completed'
      then ${ended("held.processed_devices", total)}
    when ${rank("excluded.status")} > ${rank("held.status")} then excluded.status
    else held.status end,
  completed_at = coalesce(held.completed_at, excluded.completed_at),
  error_message = ${remainingError("held.processed_devices", total, "coalesce(excluded.error_message, held.error_message)")},
  missing = coalesce(excluded.missing, held.missing)`

/**
 * The end of gateway messages whose readings are stored in the same statement. `sent` has them, each once, with the number of
 * its devices; `fresh` has the number of devices of which something was stored that had not been before.
 */
export const endedTransactions = `
  insert into telemetry_transactions as held (id, tenant_id, gateway_device_id, correlation_id, processed_devices, status,
    started_at, completed_at)
  select message_id, tenant_id, device_id, correlation_id, devices, 'completed', received_at, now()
  from sent
  order by message_id
  on conflict (id) do update set
    processed_devices = ${processed},
    ${startedAt},
    status = ${ended(processed, "held.total_logical_devices")},
    completed_at = case when held.status = 'completed' then held.completed_at else excluded.completed_at end,
    error_message = ${remainingError(processed, "held.total_logical_devices", "held.error_message")}`
