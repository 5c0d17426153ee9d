/**
 * The pipeline from the raw topic to what assets come to, over a database and a log of its own; and assets as rows.
 * @module
 */
import { assetHealth } from "@argusiq/asset-health/AssetHealth.ts"
import { assetMapping } from "@argusiq/asset-health/AssetMapping.ts"
import { demux } from "@argusiq/demux/Demux.ts"
import { dispatcher } from "@argusiq/dispatcher/Dispatcher.ts"
import { AssetTypeConfig } from "@argusiq/domain/asset/asset-type.ts"
import type { Consumer } from "@argusiq/layers/bus/Consumer.ts"
import { runConsumer } from "@argusiq/layers/bus/Consumer.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as AssetCache from "@argusiq/layers/profiles/AssetCache.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import { GatewayChildren } from "@argusiq/layers/registry/GatewayChildren.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { AliasStore } from "@argusiq/layers/telemetry/AliasStore.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Transactions } from "@argusiq/layers/telemetry/Transactions.ts"
import { normalizer } from "@argusiq/normalizer/Normalizer.ts"
import { writer } from "@argusiq/telemetry-writer/TelemetryWriter.ts"
import { assert } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { randomUUID } from "node:crypto"
import { testDatabase } from "../../support/postgres.ts"
import { testBus } from "../dispatcher/topics.ts"

const run = <E, R>(consumer: Effect.Effect<Consumer, E, R>) => Effect.forkScoped(Effect.flatMap(consumer, runConsumer))

const running = Layer.effectDiscard(
  Effect.all([run(dispatcher), run(demux), run(normalizer), run(writer), run(assetMapping), run(assetHealth)])
)

export const stores = Layer.mergeAll(
  ProfileCache.layer({ size: 1_000 }),
  AssetCache.layer({ size: 1_000 }),
  GatewayChildren.layer,
  Transactions.layer,
  TelemetryStore.layer,
  AliasStore.layer,
  Sandbox.layer
).pipe(Layer.provideMerge(testBus), Layer.provideMerge(testDatabase), Layer.fresh)

export const assetWorld = running.pipe(Layer.provideMerge(stores))

const encodeConfig = Schema.encodeUnknownSync(AssetTypeConfig)
const decodeConfig = Schema.decodeUnknownSync(AssetTypeConfig)

export const publishAssetType = Effect.fnUntraced(function* (
  tenantId: string,
  assetTypeId: string,
  number: number,
  config: object,
  effectiveAt = Date.now() - 86_400_000
) {
  const sql = yield* OwnerSql
  const whole = sql.json(encodeConfig(decodeConfig(config)))
  yield* sql`insert into asset_type_versions (id, tenant_id, asset_type_id, number, state, effective_at, config, resolved)
    values (${randomUUID()}, ${tenantId}, ${assetTypeId}, ${number}, 'published', ${new Date(effectiveAt)}, ${whole}, ${whole})`
})

/** With its first version, a day old. */
export const insertAssetType = Effect.fnUntraced(function* (tenantId: string, config: object) {
  const sql = yield* OwnerSql
  const id = randomUUID()
  yield* sql`insert into asset_types (id, tenant_id, name, published_version) values (${id}, ${tenantId}, ${id}, 1)`
  yield* publishAssetType(tenantId, id, 1, config)
  return id
})

export const insertAsset = Effect.fnUntraced(function* (tenantId: string, assetTypeId: string, parentId?: string) {
  const sql = yield* OwnerSql
  const id = randomUUID()
  yield* sql`insert into assets (id, tenant_id, name, asset_type_id, parent_id)
    values (${id}, ${tenantId}, ${id}, ${assetTypeId}, ${parentId ?? null})`
  return id
})

export const link = Effect.fnUntraced(function* (
  tenantId: string,
  deviceId: string,
  assetId: string,
  metadata: { readonly port?: string; readonly role?: string; readonly metrics_mapping?: object } = {},
  valid: { readonly from?: number; readonly until?: number } = {}
) {
  const sql = yield* OwnerSql
  const from = new Date(valid.from ?? Date.now() - 86_400_000)
  const until = valid.until === undefined ? null : new Date(valid.until)
  yield* sql`insert into entity_edges (id, tenant_id, source_entity_type, source_entity_id, target_entity_type,
      target_entity_id, relationship_type, valid_from, valid_until, metadata)
    values (${randomUUID()}, ${tenantId}, 'device', ${deviceId}, 'asset', ${assetId}, 'MONITORED_BY', ${from}, ${until},
      ${sql.json({ role: "primary", ...metadata })})`
})

export interface AssetRow {
  readonly ts: number // epoch microseconds
  readonly metrics: Readonly<Record<string, unknown>>
  readonly quality: Readonly<Record<string, string>> | null
  readonly late: boolean
}

export const framesOf = Effect.fnUntraced(function* (assetId: string) {
  const sql = yield* OwnerSql
  return yield* sql<AssetRow>`select (extract(epoch from ts) * 1000000)::float8 as ts, metrics, quality, late
    from telemetry_frames where entity_id = ${assetId} order by ts, reading_id`
})

export const latestOf = Effect.fnUntraced(function* (assetId: string) {
  const sql = yield* OwnerSql
  const [row] = yield* sql<{ metrics: Readonly<Record<string, unknown>> }>`
    select metrics from entity_latest where entity_id = ${assetId}`
  return row?.metrics
})

/** What an effect gives once it holds; fails with what it gave last after 30 s. */
export const eventually = Effect.fnUntraced(function* <A, E, R>(
  what: string,
  effect: Effect.Effect<A, E, R>,
  holds: (value: A) => boolean
) {
  const until = Date.now() + 30_000
  while (true) {
    const value = yield* effect
    if (holds(value)) return value
    if (Date.now() > until) assert.fail(`${what} did not come within 30 s: ${JSON.stringify(value)}`)
    yield* Effect.sleep(25)
  }
})
