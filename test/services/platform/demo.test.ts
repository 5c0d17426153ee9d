import { AssetTypeConfig } from "@argusiq/domain/asset/asset-type.ts"
import { runTestVectors } from "@argusiq/domain/asset/asset-type-trial.ts"
import { DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { type AssetTypeId } from "@argusiq/domain/ids.ts"
import { RuleConfig } from "@argusiq/domain/rule/rule.ts"
import { rulesOfType } from "@argusiq/domain/rule/type-rules.ts"
import { configFaults } from "@argusiq/layers/registry/assetTypeGate.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { demoOrganizationId, loadDemo } from "@argusiq/platform/demo.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { testDatabase } from "../../support/postgres.ts"

const decode = Schema.decodeUnknownEffect(DeviceTypeConfig)
const administrator = "0a000000-0000-4000-8000-000000000001"
const home = "0a000000-0000-4000-8000-000000000002"

layer(testDatabase, { excludeTestServices: true })("the demo organisation", (it) => {
  it.effect("makes the administrator a member, who signs in to it by default until somebody changes that", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      yield* sql`insert into organizations (id, name, slug) values (${home}, 'Home', 'home')`
      yield* sql`insert into users (id, email, name, is_platform_admin) values (${administrator}, 'a@b.c', 'A', true)`
      yield* sql`insert into memberships (id, tenant_id, user_id, role, is_default)
        values (${home}, ${home}, ${administrator}, 'admin', true)`
      const defaults = sql<{ tenant_id: string }>`
        select tenant_id from memberships where user_id = ${administrator} and is_default`
      yield* loadDemo
      assert.deepStrictEqual(yield* defaults, [{ tenant_id: demoOrganizationId }])
      yield* sql`update memberships set is_default = (tenant_id = ${home}) where user_id = ${administrator}`
      yield* loadDemo
      assert.deepStrictEqual(yield* defaults, [{ tenant_id: home }])
    })
  )

  it.effect("holds configurations that this release understands", () =>
    Effect.gen(function* () {
      yield* loadDemo
      const sql = yield* OwnerSql
      const rows = yield* sql<{ config: unknown }>`select config from device_type_versions
        where tenant_id = ${demoOrganizationId}`
      const modes = yield* Effect.forEach(rows, ({ config }) =>
        Effect.map(decode(config), ({ processingMode }) => processingMode)
      )
      assert.deepStrictEqual(modes.toSorted(), ["endpoint", "endpoint", "gateway", "gateway_chunked", "rtu_multiport"])
    })
  )

  it.effect("holds an asset type that could be published as it is, and the rules that publishing it would make", () =>
    Effect.gen(function* () {
      yield* loadDemo
      yield* loadDemo
      const sql = yield* OwnerSql
      const types = yield* sql<{ id: string; name: string; config: unknown }>`
        select type.id, type.name, version.config from asset_type_versions version
        join asset_types type on type.id = version.asset_type_id where type.tenant_id = ${demoOrganizationId} order by type.id`
      assert.deepStrictEqual(
        types.map(({ name }) => name),
        ["Warehouse", "Cold room"]
      )
      for (const { config, id, name } of types) {
        const decoded = yield* Schema.decodeUnknownEffect(AssetTypeConfig)(config)
        assert.deepStrictEqual([...configFaults(decoded), ...runTestVectors(decoded)], [])
        const stored = yield* sql<{ owner_key: string; config: unknown }>`
          select owner_key, config from threshold_rules join threshold_rule_versions on rule_id = id
          where owner_type_id = ${id}`
        const made = rulesOfType(id as AssetTypeId, name, decoded)
        assert.deepStrictEqual(
          new Map(stored.map((rule) => [rule.owner_key, rule.config])),
          new Map(Array.from(made, ([key, rule]): [string, unknown] => [key, Schema.encodeSync(RuleConfig)(rule)]))
        )
      }
      const [counts] = yield* sql<{ assets: number; links: number }>`
        select (select count(*)::int from assets) as assets, (select count(*)::int from entity_edges) as links`
      assert.deepStrictEqual(counts, { assets: 3, links: 3 })
    })
  )

  it.effect("adds one user per role, none of whom can sign in", () =>
    Effect.gen(function* () {
      yield* loadDemo
      const sql = yield* OwnerSql
      const users = yield* sql<{ role: string; password_hash: string | null }>`
        select role, password_hash from users join memberships on user_id = users.id
        where tenant_id = ${demoOrganizationId} and not is_platform_admin order by users.id`
      assert.deepStrictEqual(
        users.map(({ role }) => role),
        ["admin", "manager", "engineer", "technician", "viewer"]
      )
      assert.isTrue(users.every(({ password_hash }) => password_hash === null))
    })
  )

  it.effect("leaves alone what somebody has changed in it", () =>
    Effect.gen(function* () {
      const sql = yield* OwnerSql
      yield* loadDemo
      yield* sql`update devices set name = 'Mine' where serial_number = 'TS-001-2024'`
      yield* loadDemo
      const rows = yield* sql<{ name: string }>`select name from devices where serial_number = 'TS-001-2024'`
      assert.deepStrictEqual(rows, [{ name: "Mine" }])
    })
  )
})
