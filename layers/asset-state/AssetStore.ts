/**
 * Where the assets' part of the pipeline keeps what it came to. Statements run in the transaction that the fiber is in.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { instants, uuids } from "../telemetry/columns.ts"
import {
  type AsideReading,
  type AssetFrame,
  deleteFramesStatement,
  frameParameters,
  type GoneFrame
} from "./frameStatement.ts"
import { entityParameters, storedStatement } from "./latestStatement.ts"
import { showLatest } from "./latestOfFrames.ts"
import { type ShownOf, showOrHold } from "./visibility.ts"

type Sql = SqlClient.SqlClient

export interface AssetBatch {
  readonly frames: ReadonlyArray<AssetFrame>
  readonly aside: ReadonlyArray<AsideReading>
  readonly gone: ReadonlyArray<GoneFrame>
}

const shownOf = ({ assetId, output, tenantId }: AssetFrame): ShownOf => ({
  assetId,
  tenantId,
  transactionId: output.transactionId,
  output: {
    ts: output.ts,
    receivedAt: output.receivedAt,
    assetTypeVersion: output.assetTypeVersion,
    metrics: output.metrics,
    ...(output.quality !== undefined && { quality: output.quality }),
    ...(output.health !== undefined && { health: { score: output.health.score, algorithm: output.health.algorithm } })
  }
})

/** History at once, latest values and health as far as their transactions allow. */
export const storeAssets = Effect.fnUntraced(
  function* (sql: Sql, { aside, frames, gone }: AssetBatch) {
    const isShared = frames.some(({ output }) => output.transactionId !== undefined)
    if (frames.length + aside.length > 0) {
      // What belongs to a transaction is shown by itself.
      const parameters = [...frameParameters(frames, aside), ...entityParameters(isShared ? [] : frames)]
      yield* sql.unsafe(storedStatement, parameters)
    }
    if (gone.length > 0) {
      yield* sql.unsafe(deleteFramesStatement, [
        uuids(gone.map(({ assetId }) => assetId)),
        instants(gone.map(({ ts }) => ts)),
        uuids(gone.map(({ readingId }) => readingId))
      ])
      const owners = new Map(gone.map(({ assetId, tenantId }) => [assetId, tenantId]))
      for (const [assetId, tenantId] of [...owners].toSorted()) yield* showLatest(sql, assetId, tenantId, [])
    }
    if (isShared) yield* showOrHold(sql, frames.map(shownOf))
  },
  (effect) => Effect.mapError(effect, (cause) => new DatabaseUnavailable({ cause }))
)
