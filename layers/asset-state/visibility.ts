/**
 * The assets' part of gateway transactions: what one message changes becomes visible together, when all of its assets are
 * done or when that takes too long. Assets and done ones are sets, so that nothing is counted twice.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { Effect } from "effect"
import type { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import { instants, texts, uuids } from "../telemetry/columns.ts"
import { jsonText } from "./frameStatement.ts"
import { type Shown, shownParameters, shownStatement } from "./latestStatement.ts"

type Sql = SqlClient.SqlClient

/** What a gateway's message brings to which assets: two or more. */
export interface MessageAssets {
  readonly messageId: string
  readonly tenantId: string
  readonly gatewayId: string
  readonly correlationId: string
  readonly receivedAt: Instant
  readonly assetIds: ReadonlyArray<string>
}

/** So long values wait for those of the other assets of their message. */
const PATIENCE_SECONDS = 10
/** Transactions made visible in one database transaction. */
const AT_ONCE = 100

const union = (left: string, right: string) => `array(select distinct unnest(coalesce(${left}, '{}') || ${right}))`

/** In a transaction of its own unless the fiber is in one. Repeating it changes nothing. */
export const tellAssets = (sql: Sql, messages: ReadonlyArray<MessageAssets>) =>
  sql
    .unsafe(
      `insert into telemetry_transactions as held (id, tenant_id, gateway_device_id, correlation_id, status, started_at, assets,
        metadata)
      select id, tenant_id, gateway_device_id, correlation_id, 'processing', started_at, assets::uuid[],
        jsonb_build_object('assetsAt', extract(epoch from now()))
      from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::timestamptz[], $6::text[])
        as told (id, tenant_id, gateway_device_id, correlation_id, started_at, assets)
      order by id
      on conflict (id) do update set assets = ${union("held.assets", "excluded.assets")},
        metadata = excluded.metadata || held.metadata`,
      [
        uuids(messages.map(({ messageId }) => messageId)),
        uuids(messages.map(({ tenantId }) => tenantId)),
        uuids(messages.map(({ gatewayId }) => gatewayId)),
        texts(messages.map(({ correlationId }) => correlationId)),
        instants(messages.map(({ receivedAt }) => receivedAt)),
        texts(messages.map(({ assetIds }) => `{${assetIds.join(",")}}`))
      ]
    )
    .pipe(
      Effect.mapError((cause) => new DatabaseUnavailable({ cause })),
      Effect.asVoid
    )

/** What is shown of an asset because of a transaction's message. */
export interface ShownOf extends Shown {
  readonly transactionId: string | undefined
}

const show = (sql: Sql, shown: ReadonlyArray<Shown>): Effect.Effect<void, SqlError> =>
  shown.length === 0 ? Effect.void : Effect.asVoid(sql.unsafe(shownStatement, shownParameters(shown)))

/** The transactions that these assets are done with, and what that makes of them. */
const markDone = Effect.fnUntraced(function* (sql: Sql, shown: ReadonlyArray<ShownOf>) {
  const ids = [...new Set(shown.flatMap(({ transactionId }) => transactionId ?? []))].toSorted()
  yield* sql.unsafe(`select from telemetry_transactions where id = any($1::uuid[]) order by id for update`, [
    uuids(ids)
  ])
  const done = shown.filter(({ transactionId }) => transactionId !== undefined)
  const given = [uuids(done.map(({ transactionId }) => transactionId!)), uuids(done.map(({ assetId }) => assetId))]
  return yield* sql.unsafe<{ readonly id: string; readonly visible: boolean; readonly complete: boolean }>(
    `update telemetry_transactions held set done = ${union("held.done", "given.assets")}
    from (select id, array_agg(distinct asset) as assets from unnest($1::uuid[], $2::uuid[]) told (id, asset) group by id) given
    where held.id = given.id
    returning held.id::text, held.assets is null or jsonb_exists(held.metadata, 'assetsVisible') as visible,
      held.assets <@ held.done as complete`,
    given
  )
})

interface Held {
  readonly assetId: string
  readonly tenantId: string
  readonly outputs: ReadonlyArray<Shown["output"]> | null
}

/** What waits of these transactions, at their assets and the parents of those; none of it waits any more. */
const release = Effect.fnUntraced(function* (
  sql: Sql,
  transactions: ReadonlyArray<string>,
  how: "complete" | "partial"
) {
  const rows = yield* sql.unsafe<Held>(
    `with recursive line as (
      select unnest(assets) as id from telemetry_transactions where id = any($1::uuid[])
      union select parent_id from line join assets using (id) where parent_id is not null
    ), locked as (
      select entity_id, tenant_id, held from entity_latest
      where entity_id in (select id from line) and jsonb_exists_any(held, $2::text[]) order by entity_id for update
    )
    select entity_id::text as "assetId", tenant_id::text as "tenantId", jsonb_path_query_array(
      (select jsonb_agg(value) from jsonb_each(held) where key = any($2::text[])), '$[*][*]') as outputs
    from locked`,
    [uuids(transactions), texts(transactions)]
  )
  yield* sql.unsafe(
    `update entity_latest set held = nullif(held - $2::text[], '{}') where entity_id = any($1::uuid[])`,
    [uuids(rows.map(({ assetId }) => assetId)), texts(transactions)]
  )
  yield* sql.unsafe(
    `update telemetry_transactions set metadata = metadata || jsonb_build_object('assetsVisible', $2::text)
    where id = any($1::uuid[])`,
    [uuids(transactions), how]
  )
  return rows.flatMap(({ assetId, outputs, tenantId }) =>
    (outputs ?? []).map((output): Shown => ({ assetId, tenantId, output }))
  )
})

/** In the order of the assets' ids: all who take several rows take them so. */
const lock = (sql: Sql, assetIds: ReadonlyArray<string>) =>
  sql.unsafe(`select from entity_latest where entity_id = any($1::uuid[]) order by entity_id for update`, [
    uuids(assetIds)
  ])

const hold = (sql: Sql, held: ReadonlyArray<ShownOf>) => {
  const rows = [...Map.groupBy(held, ({ assetId }) => assetId)].map(([assetId, outputs]) => ({
    assetId,
    tenantId: outputs[0]!.tenantId,
    held: Object.fromEntries(
      [...Map.groupBy(outputs, ({ transactionId }) => transactionId!)].map(([id, of]) => [
        id,
        of.map(({ output }) => output)
      ])
    )
  }))
  return sql.unsafe(
    `insert into entity_latest as present (entity_id, entity_type, tenant_id, metrics, updated_at, held)
    select entity_id, 'asset', tenant_id, '{}', now(), held::jsonb
    from unnest($1::uuid[], $2::uuid[], $3::text[]) as waiting (entity_id, tenant_id, held) order by entity_id
    on conflict (entity_id) do update set held = (
      select jsonb_object_agg(key, coalesce(present.held -> key, '[]') || coalesce(excluded.held -> key, '[]'))
      from jsonb_object_keys(coalesce(present.held, '{}') || excluded.held) key
    )`,
    [
      uuids(rows.map(({ assetId }) => assetId)),
      uuids(rows.map(({ tenantId }) => tenantId)),
      texts(rows.map((row) => jsonText(row.held)))
    ]
  )
}

/** Of outputs with a transaction: shows what may be seen at once, and holds the rest; in the transaction that the fiber is in. */
export const showOrHold = Effect.fnUntraced(function* (sql: Sql, shown: ReadonlyArray<ShownOf>) {
  const states = yield* markDone(sql, shown)
  const waiting = new Set(states.filter(({ complete, visible }) => !visible && !complete).map(({ id }) => id))
  const complete = states.filter(({ complete, visible }) => !visible && complete).map(({ id }) => id)
  const mayBeSeen = ({ transactionId }: ShownOf) => transactionId === undefined || !waiting.has(transactionId)
  yield* lock(sql, [...new Set(shown.map(({ assetId }) => assetId))])
  const released = complete.length === 0 ? [] : yield* release(sql, complete, "complete")
  yield* show(sql, [...released, ...shown.filter(mayBeSeen)])
  const held = shown.filter((one) => !mayBeSeen(one))
  if (held.length > 0) yield* hold(sql, held)
})

const invisible = "assets is not null and not jsonb_exists(metadata, 'assetsVisible')"

/** Shows what there is of the transactions that have waited too long. Answers how many that were. */
export const showOverdue = (sql: Sql): Effect.Effect<number, DatabaseUnavailable> =>
  sql
    .withTransaction(
      Effect.gen(function* () {
        const rows = yield* sql.unsafe<{ readonly id: string }>(
          `select id::text from telemetry_transactions
          where ${invisible} and (metadata ->> 'assetsAt')::float8 < extract(epoch from now()) - ${PATIENCE_SECONDS}
          order by id limit ${AT_ONCE} for update skip locked`
        )
        if (rows.length === 0) return 0
        yield* show(
          sql,
          yield* release(
            sql,
            rows.map(({ id }) => id),
            "partial"
          )
        )
        return rows.length
      })
    )
    .pipe(Effect.mapError((cause) => new DatabaseUnavailable({ cause })))
