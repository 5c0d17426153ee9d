/**
 * The newest transactions of gateways, as they are.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import type { Transaction } from "@argusiq/domain/http/transactions.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { uuids } from "../telemetry/columns.ts"
import { toTransaction, type TransactionRow } from "../telemetry/TransactionList.ts"

/** Of each gateway. */
const NEWEST = 50

const statement = `
select item.id, item.correlation_id, item.gateway_device_id, item.status, item.chunk_count, item.missing,
  item.total_logical_devices, item.processed_devices, item.started_at, item.completed_at, item.error_message
from unnest($1::uuid[]) as gateway (id)
cross join lateral (
  select * from telemetry_transactions where gateway_device_id = gateway.id order by started_at desc limit ${NEWEST}
) item
order by item.started_at`

/** Up to 50 of each gateway, the oldest first. */
export const transactionStates = (
  sql: SqlClient.SqlClient,
  gatewayIds: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<Transaction>, DatabaseUnavailable> =>
  sql.unsafe<Omit<TransactionRow, "sorted">>(statement, [uuids(gatewayIds)]).pipe(
    Effect.map((rows) => rows.map(toTransaction)),
    Effect.mapError((cause) => new DatabaseUnavailable({ cause }))
  )
