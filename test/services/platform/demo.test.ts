import { DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
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
