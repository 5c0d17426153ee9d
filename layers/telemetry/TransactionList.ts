/**
 * The transactions of an organisation's gateways, page by page.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type Transaction, type TransactionQuery } from "@argusiq/domain/http/transactions.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { Context, Effect, Layer } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenant } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { isoOrNull } from "../registry/deviceRow.ts"
import { type Page, readPage } from "../registry/paging.ts"
import { type BadCursor, orUnavailable } from "../registry/refusals.ts"

export interface TransactionRow {
  readonly id: string
  readonly correlation_id: string
  readonly gateway_device_id: Transaction["gatewayDeviceId"]
  readonly status: Transaction["status"]
  readonly chunk_count: number | null
  readonly missing: ReadonlyArray<number> | null
  readonly total_logical_devices: number | null
  readonly processed_devices: number
  readonly started_at: Date
  readonly completed_at: Date | null
  readonly error_message: string | null
  readonly sorted: string
}

/** Of a row of `telemetry_transactions` under the alias `item`. */
export const transactionColumns = `item.id, item.correlation_id, item.gateway_device_id, item.status, item.chunk_count, item.missing,
  item.total_logical_devices, item.processed_devices, item.started_at, item.completed_at, item.error_message`

export const toTransaction = (row: Omit<TransactionRow, "sorted">): Transaction => ({
  id: row.id,
  correlationId: row.correlation_id,
  gatewayDeviceId: row.gateway_device_id,
  status: row.status,
  chunkCount: row.chunk_count,
  missingChunks: row.missing ?? [],
  totalLogicalDevices: row.total_logical_devices,
  processedDevices: row.processed_devices,
  startedAt: row.started_at.toISOString(),
  completedAt: isoOrNull(row.completed_at),
  error: row.error_message
})

export class TransactionList extends Context.Service<
  TransactionList,
  {
    list(tenantId: TenantId, query: TransactionQuery): Effect.Effect<Page<Transaction>, BadCursor | DatabaseUnavailable>
  }
>()("argusiq/layers/telemetry/TransactionList") {
  static readonly layer = Layer.effect(
    TransactionList,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const list = Effect.fn("TransactionList.list")(function* (tenantId: TenantId, query: TransactionQuery) {
        const { correlationId, gatewayDeviceId, status } = query
        const filters: Array<Fragment> = []
        if (gatewayDeviceId !== undefined) filters.push(sql`item.gateway_device_id = ${gatewayDeviceId}::uuid`)
        if (correlationId !== undefined) filters.push(sql`item.correlation_id = ${correlationId}`)
        if (status !== undefined) filters.push(sql`item.status = ${status}`)
        const found = (where: Fragment, rest: Fragment, sorted: Fragment) =>
          sql<TransactionRow>`
            select ${sql.literal(transactionColumns)}, ${sorted} as sorted
            from telemetry_transactions item where ${where} ${rest}`.pipe(
            inTenant(tenantId),
            Effect.provideService(AppSql, sql),
            orUnavailable
          )
        return yield* readPage(sql, { ...query, sort: query.sort ?? "-startedAt" }, filters, found, toTransaction)
      })
      return TransactionList.of({ list })
    })
  )
}
