/**
 * Where services tell how far a gateway's message has come. Its end is told where its readings are stored.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type Instant } from "@argusiq/domain/ids.ts"
import { storableText } from "@argusiq/domain/storable.ts"
import { type TransactionStatus, transactionStatuses } from "@argusiq/domain/transactions.ts"
import { Context, Effect, Layer } from "effect"
import { PipelineSql } from "../database/Sql.ts"
import { instants, integers, texts, uuids } from "./columns.ts"
import { advanceStatement } from "./transactionStatements.ts"

/** What one service knows of a transaction. What it does not know is absent and stays as it is. */
export interface TransactionAdvance {
  readonly id: string // message id of the whole
  readonly tenantId: string
  readonly gatewayId: string
  readonly correlationId: string
  readonly status: Exclude<TransactionStatus, "completed">
  readonly startedAt: Instant // received-at of the message, of a chunked one of its first chunk
  readonly generation?: number
  readonly chunkCount?: number
  readonly totalLogicalDevices?: number
  readonly error?: string
  readonly missing?: ReadonlyArray<number> // sequence numbers that never came
}

const longestError = 2_000

const rankOf = ({ status }: TransactionAdvance) => transactionStatuses.indexOf(status)

/** Each transaction once: of what is told of it several times, the last, and the status that is furthest. */
const merged = (advances: ReadonlyArray<TransactionAdvance>): ReadonlyArray<TransactionAdvance> => {
  const byId = new Map<string, TransactionAdvance>()
  for (const advance of advances) {
    const before = byId.get(advance.id)
    const status = before === undefined || rankOf(advance) > rankOf(before) ? advance.status : before.status
    byId.set(advance.id, { ...before, ...advance, status })
  }
  return [...byId.values()]
}

export class Transactions extends Context.Service<
  Transactions,
  {
    /** In the transaction that the fiber is in, else in its own. Repeating it changes nothing. */
    advance(advances: ReadonlyArray<TransactionAdvance>): Effect.Effect<void, DatabaseUnavailable>
  }
>()("argusiq/layers/telemetry/Transactions") {
  static readonly layer: Layer.Layer<Transactions, never, PipelineSql> = Layer.effect(
    Transactions,
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      return Transactions.of({
        advance: (advances) =>
          advances.length === 0
            ? Effect.void
            : Effect.suspend(() => sql.unsafe(advanceStatement, parametersOf(merged(advances)))).pipe(
                Effect.mapError((cause) => new DatabaseUnavailable({ cause })),
                Effect.asVoid
              )
      })
    })
  )
}

const parametersOf = (advances: ReadonlyArray<TransactionAdvance>) => [
  uuids(advances.map(({ id }) => id)),
  uuids(advances.map(({ tenantId }) => tenantId)),
  uuids(advances.map(({ gatewayId }) => gatewayId)),
  texts(advances.map(({ correlationId }) => correlationId)),
  integers(advances.map(({ generation }) => generation ?? 0)),
  integers(advances.map(({ chunkCount }) => chunkCount ?? null)),
  integers(advances.map(({ totalLogicalDevices }) => totalLogicalDevices ?? null)),
  texts(advances.map(({ status }) => status)),
  instants(advances.map(({ startedAt }) => startedAt)),
  texts(advances.map(({ error }) => (error === undefined ? null : storableText(error.slice(0, longestError))))),
  texts(advances.map(({ missing }) => (missing === undefined ? null : `{${missing.join(",")}}`)))
]
