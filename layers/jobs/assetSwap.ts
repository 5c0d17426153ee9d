/**
 * What a rebuild of an asset puts in place of what there was: frames, the base of its state, latest values and health. All of it
 * in the transaction that the fiber is in; readers see the old until that ends.
 *
 * Live goes on meanwhile. What is older than the base of the asset's state it does not touch. The rest is locked in this order:
 * the state's row, latest values, frames.
 * @module
 */
import type { Instant } from "@argusiq/domain/ids.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import { encodeAsset, loadAssets, type StoredAsset } from "../asset-state/foldRows.ts"
import { type AssetFrame, frameColumns, frameInsertion, frameParameters } from "../asset-state/frameStatement.ts"
import { partitionOf } from "../bus/murmur2.ts"
import { bigintegers, byteStrings, instants } from "../telemetry/columns.ts"

type Sql = SqlClient.SqlClient

const at = (parameter: string) => `timestamptz 'epoch' + (${parameter}::bigint[])[1] * interval '1 microsecond'`
const instant = (value: Instant) => bigintegers([BigInt(Math.round(value))])
/** A reading whose clock was ahead takes no part: it stays as it came. */
const isAhead = `coalesce(metadata ->> 'clock', '') = 'ahead'`

/** The state's row, locked until the transaction ends; undefined: there is none. */
export const lockAsset = Effect.fnUntraced(function* (sql: Sql, assetId: string) {
  yield* sql`select from fold_states where kind = 'asset' and entity_id = ${assetId}::uuid for update`
  return (yield* loadAssets(sql, [assetId]))[0]
})

export const loadAsset = (sql: Sql, assetId: string) => Effect.map(loadAssets(sql, [assetId]), ([row]) => row)

/** What the asset came to after `after` and up to `until` by readings that are stored by now, late ones among them. */
export const deleteFrames = (sql: Sql, assetId: string, after: Instant, until: Instant, storedBefore: Instant) =>
  sql.unsafe(
    `delete from telemetry_frames where entity_id = $1::uuid and ts > ${at("$2")} and ts <= ${at("$3")}
      and not ${isAhead} and received_at < ${at("$4")}`,
    [assetId, instant(after), instant(until), instant(storedBefore)]
  )

/** What was told of instants after the base by the readings that the row knows. */
export const deleteRecentFrames = (sql: Sql, { arrivals, assetId, state }: StoredAsset) =>
  sql.unsafe(
    `delete from telemetry_frames where entity_id = $1::uuid and ts > ${at("$2")} and not late and not ${isAhead}
      and revision <= ($3::bigint[])[1]`,
    [assetId, instant(state.baseTime), bigintegers([BigInt(arrivals)])]
  )

const insertStatement = `with frame as materialized (${frameColumns}
) ${frameInsertion}`

export const insertFrames = (sql: Sql, frames: ReadonlyArray<AssetFrame>) =>
  frames.length === 0 ? Effect.void : Effect.asVoid(sql.unsafe(insertStatement, frameParameters(frames, [])))

/** Live takes the base over when it next looks, and tells what is another by it. Its time never goes back. */
export const replaceBase = (sql: Sql, asset: StoredAsset) => {
  const { base, recent } = encodeAsset(asset)
  return sql.unsafe(
    `update fold_states set base = given.base, recent = given.recent, base_time = given.base_time, revision = revision + 1
    from unnest($2::bytea[], $3::bytea[], $4::timestamptz[]) as given (base, recent, base_time)
    where kind = 'asset' and entity_id = $1::uuid`,
    [asset.assetId, byteStrings([base]), byteStrings([recent]), instants([asset.state.baseTime])]
  )
}

/** Of an asset that has no row; false when it has one by now. `partitions`: of the bus. */
export const insertState = Effect.fnUntraced(function* (sql: Sql, partitions: number, asset: StoredAsset) {
  const { base, recent } = encodeAsset(asset)
  const rows = yield* sql.unsafe(
    `insert into fold_states (kind, entity_id, tenant_id, partition, base, recent, base_time, revision)
    select 'asset', $1::uuid, $2::uuid, $3::int, base, recent, base_time, 1
    from unnest($4::bytea[], $5::bytea[], $6::timestamptz[]) as state (base, recent, base_time)
    on conflict do nothing returning 1`,
    [
      asset.assetId,
      asset.tenantId,
      partitionOf(partitions, Buffer.from(asset.assetId)),
      byteStrings([base]),
      byteStrings([recent]),
      instants([asset.state.baseTime])
    ]
  )
  return rows.length === 1
})

export const lockLatest = (sql: Sql, assetId: string) =>
  sql`select from entity_latest where entity_id = ${assetId}::uuid for update`
