/**
 * Under which number a gateway's chunked message went: its id depends on it.
 * @module
 */
import { type Instant } from "@argusiq/domain/ids.ts"
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { texts, uuids } from "../telemetry/columns.ts"

export interface ChunkedMessage {
  readonly gatewayId: string
  readonly correlationId: string
  readonly startedAt: Instant
}

/** The generation that the chunker gave to a message that began at an instant; undefined where no transaction tells. */
export const findGenerations = Effect.fn("findGenerations")(function* (
  sql: SqlClient.SqlClient,
  tenantId: string,
  asked: ReadonlyArray<ChunkedMessage>
) {
  const rows =
    asked.length === 0
      ? []
      : yield* sql.unsafe<{ gateway: string; correlation: string; generation: number; started: number }>(
          `select gateway_device_id::text as gateway, correlation_id as correlation, generation,
            (extract(epoch from started_at) * 1000000)::float8 as started
          from telemetry_transactions
          where tenant_id = $1::uuid and (gateway_device_id, correlation_id) in (select * from unnest($2::uuid[], $3::text[]))
          order by generation desc`, // of several that began at one instant the first counts: the others are replays
          [
            tenantId,
            uuids(asked.map(({ gatewayId }) => gatewayId)),
            texts(asked.map(({ correlationId }) => correlationId))
          ]
        )
  const keyOf = ({ correlationId, gatewayId, startedAt }: ChunkedMessage) =>
    JSON.stringify([gatewayId, correlationId, startedAt])
  const generations = new Map(
    rows.map(({ correlation, gateway, generation, started }): [string, number] => [
      keyOf({ gatewayId: gateway, correlationId: correlation, startedAt: Math.round(started) }),
      generation
    ])
  )
  return (message: ChunkedMessage) => generations.get(keyOf(message))
})
