import { assert, layer } from "@effect/vitest"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import * as AssetCache from "@argusiq/layers/profiles/AssetCache.ts"
import { AssetProfiles } from "@argusiq/layers/profiles/AssetProfiles.ts"
import * as ProfileCache from "@argusiq/layers/profiles/ProfileCache.ts"
import * as RuleCache from "@argusiq/layers/profiles/RuleCache.ts"
import { RuleSets } from "@argusiq/layers/profiles/RuleSets.ts"
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Redacted } from "effect"
import { Reactivity } from "effect/reactivity"
import { randomUUID } from "node:crypto"
import { inject } from "vitest"
import { TestDatabase, testDatabase } from "../../support/postgres.ts"
import { insertAsset, insertAssetType, insertLink, insertRule, publishAssetType } from "./assets.ts"
import { insertEndpoint } from "./registry.ts"

const eventually = <E, R>(what: string, condition: Effect.Effect<boolean, E, R>, withinMillis = 15_000) =>
  Effect.gen(function* () {
    const until = Date.now() + withinMillis
    while (!(yield* condition)) {
      if (Date.now() > until) assert.fail(`not within ${withinMillis} ms: ${what}`)
      yield* Effect.sleep(10)
    }
  })

const caches = RuleCache.layer({ size: 1_000 }).pipe(
  Layer.provideMerge(Layer.merge(ProfileCache.layer({ size: 1_000 }), AssetCache.layer({ size: 1_000 })))
)
/** The caches of one more process over the same database. */
const process = Effect.map(Layer.build(Layer.fresh(caches)), (context) => ({
  assets: Context.get(context, AssetProfiles),
  rules: Context.get(context, RuleSets)
}))

const config = { metricDefinitions: [{ key: "temperature", displayName: "T", dataType: "numeric" }] }

layer(testDatabase, { excludeTestServices: true })("the caches of assets and rules", (it) => {
  it.effect("two processes know the links of a device within a second of their making and of their end", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const [one, two] = [yield* process, yield* process]
      const { deviceId, tenantId } = yield* insertEndpoint()
      const assetTypeId = yield* insertAssetType(tenantId, config)
      const assetId = yield* insertAsset({ tenantId, assetTypeId })
      const linksOf = ({ assets }: typeof one) =>
        Effect.map(assets.links([deviceId]), (found) => found.get(deviceId) ?? [])
      assert.deepStrictEqual([yield* linksOf(one), yield* linksOf(two)], [[], []])
      const validFrom = Date.now() - 1_000
      const linkId = yield* insertLink({
        tenantId,
        deviceId,
        assetId,
        validFrom,
        metadata: { port: "1", role: "backup", metrics_mapping: { temperature: "t" } }
      })
      const expected: object = {
        linkId,
        deviceId,
        assetId,
        tenantId,
        port: "1",
        role: "backup",
        validFrom: validFrom * 1_000,
        metricsMapping: { temperature: "t" }
      }
      for (const process of [one, two]) {
        yield* eventually(
          "the link",
          Effect.map(linksOf(process), ({ length }) => length === 1),
          1_000
        )
        assert.deepStrictEqual<unknown>(yield* linksOf(process), [expected])
        assert.strictEqual(yield* linksOf(process), yield* linksOf(process))
      }
      yield* sql`update entity_edges set valid_until = now() where id = ${linkId}`
      for (const process of [one, two]) {
        yield* eventually(
          "its end",
          Effect.map(linksOf(process), ([link]) => link?.validUntil !== undefined),
          1_000
        )
      }
    })
  )

  it.effect("an asset changes with its profile, and its type with each version", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const { assets } = yield* process
      const { tenantId } = yield* insertEndpoint()
      const assetTypeId = yield* insertAssetType(tenantId, config)
      const profileId = randomUUID()
      yield* sql`insert into asset_profiles (id, tenant_id, name, asset_type_id, telemetry_mappings)
        values (${profileId}, ${tenantId}, ${profileId}, ${assetTypeId}, '{"temperature": "a"}')`
      const parentId = yield* insertAsset({ tenantId, assetTypeId })
      const assetId = yield* insertAsset({
        tenantId,
        assetTypeId,
        parentId,
        profileId,
        customAttributes: { healthWeight: 3 }
      })
      const asset = Effect.map(assets.assets([assetId, randomUUID()]), (found) => found.get(assetId))
      assert.deepInclude<object>((yield* asset)!, {
        assetId,
        tenantId,
        assetTypeId,
        parentId,
        healthWeight: 3,
        profileMappings: { temperature: "a" }
      })
      yield* sql`update asset_profiles set telemetry_mappings = '{"temperature": "b"}' where id = ${profileId}`
      yield* eventually(
        "the profile's mapping",
        Effect.map(asset, (found) => found?.profileMappings["temperature"] === "b")
      )
      yield* sql`update assets set custom_attributes = '{"healthWeight": "heavy"}' where id = ${assetId}`
      yield* eventually(
        "the weight",
        Effect.map(asset, (found) => found?.healthWeight === 1)
      )

      const versions = Effect.map(assets.types([assetTypeId]), (found) => found.get(assetTypeId)?.versions ?? [])
      assert.strictEqual((yield* versions).length, 1)
      yield* publishAssetType({ tenantId, assetTypeId, number: 2, config, effectiveAt: Date.now() + 2_000 })
      yield* eventually(
        "the second version",
        Effect.map(versions, ({ length }) => length === 2),
        1_500
      )
      assert.strictEqual(yield* versions, yield* versions)
    })
  )

  it.effect("the health of an asset is written without emptying any cache", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const { assets } = yield* process
      const { tenantId } = yield* insertEndpoint()
      const assetTypeId = yield* insertAssetType(tenantId, config)
      const assetId = yield* insertAsset({ tenantId, assetTypeId })
      yield* Effect.sleep(500)
      const asset = Effect.map(assets.assets([assetId]), (found) => found.get(assetId))
      const before = yield* asset
      yield* sql`insert into asset_status (asset_id, tenant_id, health_score) values (${assetId}, ${tenantId}, 50)`
      yield* sql`update asset_status set health_score = 60 where asset_id = ${assetId}`
      yield* Effect.sleep(1_100) // two checks of the sequence
      assert.strictEqual(yield* asset, before)
    })
  )

  it.effect("an entity has the rules of all, of its type, of its groups and of its name, with all their versions", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      const { rules } = yield* process
      const { deviceId, deviceTypeId, tenantId } = yield* insertEndpoint()
      const stranger = yield* insertEndpoint()
      const assetTypeId = yield* insertAssetType(tenantId, config)
      const otherType = yield* insertAssetType(tenantId, config)
      const assetId = yield* insertAsset({ tenantId, assetTypeId })
      const [list, filter] = [randomUUID(), randomUUID()]
      yield* sql`insert into asset_groups (id, tenant_id, name, filter) values (${list}, ${tenantId}, 'list', null),
        (${filter}, ${tenantId}, 'filter', ${sql.json({ attributes: { kind: "cold" } })})`
      const all = yield* insertRule(tenantId, {})
      const ofType = yield* insertRule(tenantId, { scope: { kind: "type", id: assetTypeId } })
      yield* insertRule(tenantId, { scope: { kind: "type", id: otherType } })
      const ofList = yield* insertRule(tenantId, { scope: { kind: "group", id: list } })
      const ofFilter = yield* insertRule(tenantId, { scope: { kind: "group", id: filter } })
      const named = yield* insertRule(
        tenantId,
        { scope: { kind: "entities", ids: [assetId] } },
        { scope: { kind: "entities", ids: [randomUUID()] } }
      )
      const ofDevice = yield* insertRule(tenantId, {
        entityType: "device",
        scope: { kind: "type", id: deviceTypeId }
      })
      yield* insertRule(stranger.tenantId, {}, {})
      const found = (entityType: "device" | "asset", id: string) =>
        Effect.map(rules.rulesOf(entityType, [id]), (sets) => sets.get(id) ?? [])
      const told = Effect.map(found("asset", assetId), (versions) =>
        versions
          .map(({ config, id, version }): readonly [string, number, boolean] => [id, version, config.isActive])
          .toSorted()
      )
      const always = [
        [all, 1, true],
        [ofType, 1, true],
        [named, 1, true],
        [named, 2, false] // does not take the asset in: what version 1 said ends with it
      ]
      const isNow = (what: string, expected: ReadonlyArray<unknown>) =>
        eventually(
          what,
          Effect.map(
            told,
            (versions) => JSON.stringify(versions) === JSON.stringify([...always, ...expected].toSorted())
          )
        )
      yield* isNow("its rules", [])
      assert.deepStrictEqual(
        (yield* found("device", deviceId)).map(({ id }) => id as string),
        [ofDevice]
      )
      yield* sql`insert into asset_group_members (group_id, asset_id, tenant_id) values (${list}, ${assetId}, ${tenantId})`
      yield* isNow("the rule of the list", [[ofList, 1, true]])
      yield* sql`update assets set custom_attributes = '{"kind": "cold"}' where id = ${assetId}`
      yield* isNow("the rule of the filter", [
        [ofList, 1, true],
        [ofFilter, 1, true]
      ])
      assert.strictEqual(yield* found("asset", assetId), yield* found("asset", assetId))
      yield* sql`delete from asset_group_members where group_id = ${list}`
      yield* isNow("the list without the asset", [[ofFilter, 1, true]])
    })
  )
})

layer(testDatabase, { excludeTestServices: true })("without their database", (it) => {
  it.effect("the caches of assets and rules make consumers wait", () =>
    Effect.gen(function* () {
      const { deviceId, tenantId } = yield* insertEndpoint()
      const assetId = yield* insertAsset({ tenantId, assetTypeId: yield* insertAssetType(tenantId, config) })
      const { assets, rules } = yield* process
      const asked = Effect.all([
        assets.links([deviceId]),
        assets.assets([assetId]),
        rules.rulesOf("device", [deviceId]),
        rules.rulesOf("asset", [assetId])
      ])
      yield* asked
      const { name } = yield* TestDatabase
      const superuser = yield* PgClient.makeClient({ url: Redacted.make(`${inject("postgres").superuser}postgres`) })
      yield* superuser.unsafe(`alter database ${name} with allow_connections false`)
      yield* superuser`select pg_terminate_backend(pid) from pg_stat_activity where datname = ${name}`
      yield* Effect.sleep(2_000)
      assert.strictEqual((yield* Effect.flip(assets.links([deviceId])))._tag, "DatabaseUnavailable")
      assert.strictEqual((yield* Effect.flip(assets.assets([assetId])))._tag, "DatabaseUnavailable")
      assert.strictEqual((yield* Effect.flip(rules.rulesOf("asset", [assetId])))._tag, "DatabaseUnavailable")
      yield* superuser.unsafe(`alter database ${name} with allow_connections true`)
      yield* eventually(
        "they go on",
        Effect.map(Effect.exit(asked), (exit) => exit._tag === "Success")
      )
    }).pipe(Effect.provide(Reactivity.layer))
  )
})
