import type { TenantId } from "@argusiq/domain/ids.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Jobs } from "@argusiq/layers/jobs/Jobs.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { randomUUID } from "node:crypto"
import { rebuildWorld, runJobs } from "../../faults/assetRebuild.ts"
import { insertEndpoint } from "../../layers/profiles/registry.ts"
import { testDatabase } from "../../support/postgres.ts"
import { insertAsset, insertAssetType, link } from "../asset-health/world.ts"
import { testBus } from "../dispatcher/topics.ts"

const SECOND = 1_000_000
const world = rebuildWorld.pipe(Layer.provideMerge(testBus), Layer.provideMerge(testDatabase), Layer.fresh)
const start = Math.floor(Date.now() / 3_600_000) * 3_600 * SECOND - 6 * 3_600 * SECOND
const at = (seconds: number) => new Date((start + seconds * SECOND) / 1_000).toISOString()
const type = { metricDefinitions: [{ key: "t", displayName: "t", dataType: "numeric" }] }
const doubled = { ...type, transformationEngine: { mappings: {}, derived: { twice: "t * 2" } } }

const insertWorld = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const { deviceId, tenantId } = yield* insertEndpoint()
  const assetTypeId = yield* insertAssetType(tenantId, type)
  const assetId = yield* insertAsset(tenantId, assetTypeId)
  yield* link(tenantId, deviceId, assetId, {}, { from: start / 1_000 - 1 })
  yield* sql`update ingest_heartbeat set accepted_until = now() + interval '1 day'`
  // Whatever was received by now is known.
  yield* sql`insert into consumer_offsets ("group", topic, partition, partition_time)
    values ('argusiq.asset-health.settled', 'telemetry.asset_readings.v1', 0, now()) on conflict do nothing`
  const measure = (seconds: number, t: number) => sql`
    insert into telemetry_frames (tenant_id, entity_type, entity_id, ts, reading_id, message_id, received_at, source_device_id,
      config_version, metrics)
    values (${tenantId}, 'device', ${deviceId}, ${at(seconds)}::timestamptz, ${randomUUID()}, ${randomUUID()},
      ${at(seconds)}::timestamptz, ${deviceId}, 1, ${sql.json({ t })})`
  const ruleId = randomUUID()
  yield* sql`insert into threshold_rules (id, tenant_id, name) values (${ruleId}, ${tenantId}, ${ruleId})`
  const saveRule = (number: number, value: number, seconds: number) => sql`
    insert into threshold_rule_versions (rule_id, tenant_id, number, effective_at, config)
    values (${ruleId}, ${tenantId}, ${number}, ${at(seconds)}::timestamptz, ${sql.json({
      name: "hot",
      entityType: "asset",
      scope: { kind: "all" },
      metricKey: "t",
      severity: "high",
      cooldownSeconds: 0,
      condition: { operator: ">", value }
    })})`
  yield* saveRule(1, 80, -7_200)
  const framesOf = (entityId: string) =>
    Effect.map(
      sql<{ seconds: number; metrics: Readonly<Record<string, number>> }>`
        select (extract(epoch from ts) * 1000000)::float8 as seconds, metrics from telemetry_frames
        where entity_id = ${entityId} and not late order by ts`,
      (rows) => rows.map(({ metrics, seconds }) => [(seconds - start) / SECOND, metrics] as const)
    )
  const alarmsOf = (entityId: string) =>
    Effect.map(
      sql<{ id: string; from: number; to: number | null; acknowledged: boolean; state: string }>`
      select id, state, (extract(epoch from started_at) * 1000000)::float8 as from,
        (extract(epoch from ended_at) * 1000000)::float8 as to, acknowledged_at is not null as acknowledged
      from alarms where entity_id = ${entityId} order by started_at`,
      (rows) =>
        rows.map(({ from, to, ...row }) => ({
          ...row,
          from: (from - start) / SECOND,
          to: to === null ? null : (to - start) / SECOND
        }))
    )
  const actor = { tenantId: tenantId as TenantId, userId: undefined }
  const rebuild = Effect.fnUntraced(function* (
    from: number,
    to: number,
    configuration: "as it was" | "draft" | "published"
  ) {
    const jobs = yield* Jobs
    const scope = configuration === "draft" ? ({ kind: "type", id: assetTypeId } as const) : ({ kind: "all" } as const)
    const span = { from: start + from * SECOND, to: start + to * SECOND }
    yield* runJobs([yield* jobs.rebuild(actor, { what: "assets", scope, configuration, ...span })], actor)
  })
  const draft = (config: object) => sql`
    insert into asset_type_versions (id, tenant_id, asset_type_id, number, state, config)
    values (${randomUUID()}, ${tenantId}, ${assetTypeId}, 2, 'draft', ${sql.json(config)})`
  const world = { assetId, assetTypeId, deviceId, draft, measure, rebuild, ruleId, saveRule, tenantId }
  return { ...world, alarms: alarmsOf(assetId), alarmsOf, frames: framesOf(assetId), framesOf }
})

layer(world, { excludeTestServices: true, timeout: 60_000 })("a rebuild", (it) => {
  it.effect(
    "takes late readings in; alarms that stay keep their ids and what people did to them, and nobody is told",
    () =>
      Effect.gen(function* () {
        const sql = yield* OwnerSql
        const { alarms, assetId, frames, measure, rebuild, tenantId } = yield* insertWorld
        yield* measure(0, 70)
        yield* measure(60, 90)
        yield* measure(120, 70)
        yield* rebuild(-60, 18_000, "as it was")
        const [first] = yield* alarms
        assert.deepInclude(first, { state: "cleared", from: 60, to: 120, acknowledged: false })
        yield* sql`update alarms set acknowledged_at = now() where id = ${first!.id}`
        yield* measure(180, 95)
        yield* measure(240, 60)
        // Within the horizon of the newest it is live's to take in.
        yield* measure(280, 60)
        yield* measure(90, 85)
        yield* rebuild(-60, 18_000, "as it was")
        assert.deepStrictEqual(
          (yield* frames).map(([seconds, { t }]) => [seconds, t]),
          [
            [0, 70],
            [60, 90],
            [90, 85],
            [120, 70],
            [180, 95],
            [240, 60]
          ]
        )
        const after = yield* alarms
        assert.deepStrictEqual(after[0], { ...first!, acknowledged: true })
        assert.deepInclude(after[1], { state: "cleared", from: 180, to: 240 })
        assert.lengthOf(after, 2)
        const [latest] = yield* sql`select metrics from entity_latest where entity_id = ${assetId}`
        assert.deepStrictEqual(latest, { metrics: { t: 60 } })
        assert.deepStrictEqual(yield* sql`select from system_events where tenant_id = ${tenantId}`, [])
      })
  )

  it.effect("of a span leaves what lies outside of it, and makes the span by the draft", () =>
    Effect.gen(function* () {
      const { draft, frames, measure, rebuild } = yield* insertWorld
      for (const seconds of [0, 60, 120, 180]) yield* measure(seconds, seconds)
      yield* rebuild(-60, 18_000, "as it was")
      yield* draft(doubled)
      yield* rebuild(60, 121, "draft")
      assert.deepStrictEqual(yield* frames, [
        [0, { t: 0 }],
        [60, { t: 60, twice: 120 }],
        [120, { t: 120, twice: 240 }],
        [180, { t: 180 }]
      ])
    })
  )

  it.effect("by a link that was moved in the past gives each asset what was its own, alarms included", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const { alarms, alarmsOf, assetId, assetTypeId, deviceId, frames, framesOf, measure, rebuild, tenantId } =
        yield* insertWorld
      const other = yield* insertAsset(tenantId, assetTypeId)
      yield* measure(0, 70)
      yield* measure(60, 90)
      yield* measure(90, 70)
      yield* measure(120, 95)
      yield* measure(180, 60)
      yield* rebuild(-60, 18_000, "as it was")
      assert.deepStrictEqual(yield* framesOf(other), [])
      assert.deepStrictEqual(
        (yield* frames).map(([seconds]) => seconds),
        [0, 60, 90, 120, 180]
      )
      yield* sql`update entity_edges set valid_from = ${at(100)}::timestamptz where target_entity_id = ${assetId}`
      yield* link(tenantId, deviceId, other, {}, { from: start / 1_000 - 1, until: start / 1_000 + 100_000 })
      yield* rebuild(-60, 18_000, "as it was")
      assert.deepStrictEqual(yield* frames, [
        [120, { t: 95 }],
        [180, { t: 60 }]
      ])
      assert.deepStrictEqual(yield* framesOf(other), [
        [0, { t: 70 }],
        [60, { t: 90 }],
        [90, { t: 70 }]
      ])
      const said = (all: Effect.Success<typeof alarms>) =>
        all.filter(({ state }) => state !== "retracted").map(({ from, to }) => [from, to])
      assert.deepStrictEqual(said(yield* alarms), [[120, 180]])
      assert.deepStrictEqual(said(yield* alarmsOf(other)), [[60, 90]])
    })
  )

  it.effect("by the published rules retracts what they would not have said", () =>
    Effect.gen(function* () {
      const { alarms, measure, rebuild, ruleId, saveRule, tenantId } = yield* insertWorld
      yield* measure(0, 85)
      yield* measure(60, 70)
      yield* measure(120, 95)
      yield* measure(180, 70)
      yield* rebuild(-60, 18_000, "as it was")
      assert.lengthOf(yield* alarms, 2)
      yield* saveRule(2, 90, 600)
      yield* Effect.sleep("2 seconds")
      const jobs = yield* Jobs
      const actor = { tenantId: tenantId as TenantId, userId: undefined }
      const span = { from: start - SECOND, to: start + 18_000 * SECOND, scope: { kind: "all" } } as const
      yield* runJobs(
        [yield* jobs.rebuild(actor, { what: "rules", entityType: "asset", configuration: "published", ...span })],
        actor
      )
      const said = (yield* alarms).filter(({ state }) => state !== "retracted")
      assert.deepStrictEqual(
        said.map(({ from, to }) => [from, to]),
        [[120, 180]],
        ruleId
      )
    })
  )
})
