import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { type SqlError } from "effect/sql/SqlError"
import { isRefusal, isUnavailable, sqlState, toDatabaseUnavailable } from "../../../layers/database/errors.ts"
import { OwnerSql, PipelineSql } from "../../../layers/database/Sql.ts"
import { testDatabase } from "../../support/postgres.ts"

layer(testDatabase, { excludeTestServices: true })("a failed statement", (it) => {
  it.effect("that PostgreSQL will never take is a refusal and no reason to wait", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const refusals: ReadonlyArray<readonly [string, Effect.Effect<unknown, SqlError>]> = [
        ["22P02", sql`select ${"x"}::text::uuid`],
        ["22021", sql`select ${"a\u0000b"}::text`],
        ["22P05", sql`select ${'{"a":"\\u0000"}'}::text::jsonb`],
        ["22003", sql`select ${"1e400"}::text::float8`],
        ["23502", sql`insert into device_status (device_id) values (gen_random_uuid())`],
        ["23503", sql`insert into device_status (device_id, tenant_id) values (gen_random_uuid(), gen_random_uuid())`]
      ]
      for (const [state, statement] of refusals) {
        const error = yield* Effect.flip(statement)
        assert.strictEqual(sqlState(error), state)
        assert.isTrue(isRefusal(error), state)
        assert.isFalse(isUnavailable(error), state)
      }
    })
  )

  it.effect("whose session is ended, whose time is up or that meets a deadlock may succeed later", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const owner = yield* OwnerSql
      const ended = yield* Effect.flip(sql`select pg_terminate_backend(pg_backend_pid()), pg_sleep(5)`)
      const slow = yield* Effect.flip(
        owner.withTransaction(Effect.andThen(owner`set local statement_timeout = 20`, owner`select pg_sleep(5)`))
      )
      for (const error of [ended, slow]) {
        assert.isTrue(isUnavailable(error))
        assert.isFalse(isRefusal(error))
        assert.strictEqual(toDatabaseUnavailable(error)._tag, "DatabaseUnavailable")
      }
    })
  )

  it.effect("that is wrong itself is neither", () =>
    Effect.gen(function* () {
      const sql = yield* PipelineSql
      const error = yield* Effect.flip(sql`select nothing from nowhere`)
      assert.isFalse(isRefusal(error))
      assert.isFalse(isUnavailable(error))
      assert.strictEqual(toDatabaseUnavailable(error), error)
    })
  )
})
