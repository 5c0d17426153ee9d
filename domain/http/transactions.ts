/**
 * Transactions: what became of the messages of gateways.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { DeviceId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { transactionStatuses } from "../transactions.ts"
import { InvalidRequest } from "./problems.ts"
import { Cursor, idParams, IsoInstant, limit, page, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

export const Transaction = Schema.Struct({
  id: Uuid, // the message's
  correlationId: Schema.String, // as the gateway named it; else the message id
  gatewayDeviceId: DeviceId,
  status: Schema.Literals(transactionStatuses),
  chunkCount: Schema.NullOr(Schema.Int), // null: it came in one
  missingChunks: Schema.Array(Schema.Int), // those that never came
  totalLogicalDevices: Schema.NullOr(Schema.Int), // null: not opened yet, or it cannot be
  processedDevices: Schema.Int, // of which a reading is stored
  startedAt: IsoInstant, // received-at of the message, or of its first chunk
  completedAt: Schema.NullOr(IsoInstant), // completed or failed
  error: Schema.NullOr(Schema.String)
}).annotate({ identifier: "Transaction" })
export type Transaction = typeof Transaction.Type

export const TransactionQuery = Schema.Struct({
  limit: Schema.optionalKey(limit(500)),
  cursor: Schema.optionalKey(Cursor),
  sort: Schema.optionalKey(Schema.Literals(["startedAt", "-startedAt"])), // the newest first unless told
  gatewayDeviceId: Schema.optionalKey(idParams.id),
  correlationId: Schema.optionalKey(text(255)),
  status: Schema.optionalKey(Schema.Literals(transactionStatuses))
})
export type TransactionQuery = typeof TransactionQuery.Type

export class TransactionsApi extends HttpApiGroup.make("transactions")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: TransactionQuery.fields,
      success: page(Transaction, "TransactionPage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "telemetry:read")
      .annotate(OpenApi.Summary, "What became of the messages of gateways, the newest first")
      .annotate(
        OpenApi.Description,
        "A message is pending while chunks of it are awaited, processing once its children go their way, completed when " +
          "their readings are stored, and failed when nothing of it was. Children that could not be processed are missing " +
          "in processedDevices and wait among the dead letters; retried with success they are counted."
      )
  )
  .prefix("/api/v1/transactions")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
