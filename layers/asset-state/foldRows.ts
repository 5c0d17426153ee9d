/**
 * What the folds of assets have come to, as rows of `fold_states`, and up to which place of a partition they hold what was
 * read: what came after it is read again when the partition is taken over.
 * @module
 */
import type { AssetState } from "@argusiq/domain/asset/asset-fold.ts"
import type { AssetReading } from "@argusiq/domain/asset/asset-reading.ts"
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import type { FoldState } from "@argusiq/domain/fold.ts"
import { Groups } from "@argusiq/domain/pipeline.ts"
import { RecentInputs, type WrittenInputs } from "@argusiq/domain/recent-inputs.ts"
import { jsonBytes } from "@argusiq/domain/record-json.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { TopicPartition } from "../bus/Bus.ts"
import { type KeptInputs, restoreInputs } from "./keptInputs.ts"
import { byteStrings, instants, integers, uuids } from "../telemetry/columns.ts"

type Sql = SqlClient.SqlClient

export interface StoredAsset {
  readonly assetId: string
  readonly tenantId: string
  readonly state: FoldState<AssetState, AssetReading>
  /**
   * The revision of what is told: rises by each reading that the asset takes in, and above all that was told before when another
   * takes its partition over.
   */
  readonly arrivals: number
  /** Raised by a rebuild, which replaces the base. */
  readonly revision: number
  /** The revision whose base all that was told goes by. */
  readonly told: number
}

/** `recent` of a row of kind `asset`. */
type Recent = (KeptInputs | WrittenInputs<AssetReading>) & Pick<StoredAsset, "arrivals" | "told">

const KIND = "asset"
/** Under this name `consumer_offsets` holds the places up to which the rows hold what was read. */
export const STATES_GROUP = `${Groups.assetHealth}.states`

const micros = (column: string) => `(extract(epoch from ${column}) * 1000000)::bigint`
const unavailable = Effect.mapError((cause: unknown) => new DatabaseUnavailable({ cause }))

const decoder = new TextDecoder()
const parsed = (bytes: Uint8Array) => JSON.parse(decoder.decode(bytes))

interface Row {
  readonly entity_id: string
  readonly tenant_id: string
  readonly base: Uint8Array
  readonly recent: Uint8Array
  readonly base_time: bigint
  readonly revision: number
}

/** Those that there are. `tip` is the base: whoever loads them folds `recent` again. */
export const loadAssets = (
  sql: Sql,
  assetIds: ReadonlyArray<string>
): Effect.Effect<ReadonlyArray<StoredAsset>, DatabaseUnavailable> =>
  assetIds.length === 0
    ? Effect.succeed([])
    : sql
        .unsafe<Row>(
          `select entity_id::text, tenant_id::text, base, recent, ${micros("base_time")} as base_time, revision
          from fold_states where kind = '${KIND}' and entity_id = any($1::uuid[])`,
          [uuids(assetIds)]
        )
        .pipe(
          Effect.map((rows) =>
            rows.map((row): StoredAsset => {
              const base: AssetState = parsed(row.base)
              const recent: Recent = parsed(row.recent)
              const inputs =
                "origins" in recent ? restoreInputs(recent, row.entity_id, row.tenant_id) : RecentInputs.read(recent)
              return {
                assetId: row.entity_id,
                tenantId: row.tenant_id,
                state: { base, baseTime: Number(row.base_time), recent: RecentInputs.of(inputs), tip: base },
                arrivals: recent.arrivals,
                revision: row.revision,
                told: recent.told
              }
            })
          ),
          unavailable
        )

/** The revisions of the rows that there are. */
export const revisionsOf = (sql: Sql, assetIds: ReadonlyArray<string>) =>
  sql
    .unsafe<{ readonly id: string; readonly revision: number }>(
      `select entity_id::text as id, revision from fold_states where kind = '${KIND}' and entity_id = any($1::uuid[])`,
      [uuids(assetIds)]
    )
    .pipe(
      Effect.map((rows) => new Map(rows.map(({ id, revision }) => [id, revision]))),
      unavailable
    )

/** What a row holds, as bytes: made before the transaction that stores them. */
export const encodeAsset = ({
  arrivals,
  state,
  told
}: StoredAsset): { readonly base: Uint8Array; readonly recent: Uint8Array } => ({
  base: jsonBytes(state.base),
  recent: Buffer.from(state.recent.json({ arrivals, told }))
})

export interface EncodedAsset {
  readonly asset: StoredAsset
  readonly base: Uint8Array
  readonly recent: Uint8Array
}

/**
 * Writes the rows and, where it is given, the place up to which all rows of the partition hold everything, in the transaction
 * that the fiber is in. A row whose revision is another than the one it was read with stays as it is, and the place with it:
 * `false`.
 */
export const saveAssets = Effect.fnUntraced(
  function* (
    sql: Sql,
    at: TopicPartition,
    logId: string,
    next: bigint | undefined,
    saved: ReadonlyArray<EncodedAsset>
  ) {
    if (saved.length > 0) {
      const rows = yield* sql.unsafe(
        `insert into fold_states as held (kind, entity_id, tenant_id, partition, base, recent, base_time, revision)
        select '${KIND}', entity_id, tenant_id, $1::int, base, recent, base_time, revision
        from unnest($2::uuid[], $3::uuid[], $4::bytea[], $5::bytea[], $6::timestamptz[], $7::int[])
          as saved (entity_id, tenant_id, base, recent, base_time, revision)
        order by entity_id
        on conflict (kind, entity_id, rule_id) do update set
          (partition, base, recent, base_time) = (excluded.partition, excluded.base, excluded.recent, excluded.base_time)
        where held.revision = excluded.revision
        returning 1`,
        [
          at.partition,
          uuids(saved.map(({ asset }) => asset.assetId)),
          uuids(saved.map(({ asset }) => asset.tenantId)),
          byteStrings(saved.map(({ base }) => base)),
          byteStrings(saved.map(({ recent }) => recent)),
          instants(saved.map(({ asset }) => asset.state.baseTime)),
          integers(saved.map(({ asset }) => asset.revision))
        ]
      )
      if (rows.length < saved.length) return false
    }
    if (next === undefined) return true
    yield* sql`
      insert into consumer_offsets ("group", topic, partition, log_id, next)
      values (${STATES_GROUP}, ${at.topic}, ${at.partition}, ${logId}, ${String(next)}::bigint)
      on conflict ("group", topic, partition) do update set log_id = excluded.log_id, next = excluded.next`
    return true
  },
  (effect) => unavailable(effect)
)

/** Up to where the rows of a partition hold what was read, and up to where it was read. Undefined: never stored for this log. */
export const placesOf = (sql: Sql, { partition, topic }: TopicPartition, logId: string) =>
  sql<{ readonly group: string; readonly next: bigint }>`
    select "group", next from consumer_offsets
    where "group" in (${STATES_GROUP}, ${Groups.assetHealth}) and topic = ${topic} and partition = ${partition}
      and next is not null and log_id = ${logId}`.pipe(
    Effect.map((rows) => ({
      saved: rows.find(({ group }) => group === STATES_GROUP)?.next,
      read: rows.find(({ group }) => group === Groups.assetHealth)?.next
    })),
    unavailable
  )
