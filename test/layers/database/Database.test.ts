import { PgClient } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Logger, Redacted } from "effect"
import { Reactivity } from "effect/reactivity"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { inject } from "vitest"
import * as Database from "../../../layers/database/Database.ts"
import { framesTable, listPartitions, rawTable } from "../../../layers/database/partitions.ts"
import { AppSql, OwnerSql, PipelineSql } from "../../../layers/database/Sql.ts"
import { databaseEnvironment, emptyDatabase, TestDatabase } from "../../support/postgres.ts"

const user = (sql: PgClient.PgClient) =>
  Effect.map(
    sql<{ role: string; application: string }>`select current_user::text as role,
      current_setting('application_name') as application`,
    (rows) => `${rows[0]?.role} ${rows[0]?.application}`
  )

const users = Effect.gen(function* () {
  return [yield* user(yield* OwnerSql), yield* user(yield* PipelineSql), yield* user(yield* AppSql)]
})
const threeRoles = ["argusiq_owner argusiq-owner", "argusiq_pipeline argusiq-pipeline", "argusiq_app argusiq-app"]
const withSettings = (settings: Record<string, string>) => {
  const provider = ConfigProvider.layer(ConfigProvider.fromUnknown(settings))
  return <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    effect.pipe(Effect.provide(Database.layer), Effect.provide([provider, Logger.layer([])]))
}
const asSuperuser = (statement: string) =>
  Effect.scoped(
    Effect.flatMap(PgClient.makeClient({ url: Redacted.make(`${inject("postgres").superuser}postgres`) }), (sql) =>
      sql.unsafe(statement)
    )
  ).pipe(Effect.provide(Reactivity.layer))

describe("the database", () => {
  it.live(
    "is embedded when nothing is set: three roles, migrated, with partitions, healthy; and again after a stop",
    () =>
      Effect.gen(function* () {
        const directory = yield* Effect.acquireRelease(
          Effect.sync(() => {
            const made = Fs.mkdtempSync(Path.join(Os.tmpdir(), "argusiq-database-"))
            Fs.chmodSync(made, 0o755)
            return made
          }),
          (made) => Effect.sync(() => Fs.rmSync(made, { recursive: true, force: true, maxRetries: 5 }))
        )
        const look = Effect.gen(function* () {
          const health = yield* Database.DatabaseHealth
          assert.strictEqual(health.kind, "embedded")
          yield* health.check
          assert.deepStrictEqual(yield* users, threeRoles)
          for (const table of [framesTable, rawTable]) {
            assert.strictEqual((yield* listPartitions(yield* OwnerSql, table)).length, 1 + table.ahead)
          }
        })
        yield* withSettings({ ARGUSIQ_DATA_DIR: directory })(look)
        yield* withSettings({ ARGUSIQ_DATA_DIR: directory, DATABASE_MIGRATE: "false" })(look)
      })
  )

  it.live("is the one of DATABASE_URL, with a URL for each role", () =>
    Effect.gen(function* () {
      const settings = databaseEnvironment(yield* TestDatabase)
      yield* withSettings(settings)(
        Effect.gen(function* () {
          const health = yield* Database.DatabaseHealth
          assert.strictEqual(health.kind, "external")
          yield* health.check
          assert.deepStrictEqual(yield* users, threeRoles)
        })
      )
    }).pipe(Effect.provide(emptyDatabase))
  )

  it.live("acts as the roles that have no URL of their own, where the owner may; else says what is to be granted", () =>
    Effect.gen(function* () {
      const settings = { DATABASE_URL: (yield* TestDatabase).owner }
      const refused = yield* Effect.flip(withSettings(settings)(users))
      assert.match(String(refused), /may not run "grant argusiq_pipeline to current_user with inherit false, set true"/)
      yield* asSuperuser("grant argusiq_pipeline, argusiq_app to argusiq_owner with inherit false, set true")
      assert.deepStrictEqual(yield* withSettings(settings)(users), threeRoles)
    }).pipe(
      Effect.ensuring(Effect.ignore(asSuperuser("revoke argusiq_pipeline, argusiq_app from argusiq_owner"))),
      Effect.provide(emptyDatabase)
    )
  )

  it.live("does not start unmigrated where migrating is switched off, nor where nothing answers", () =>
    Effect.gen(function* () {
      const database = yield* TestDatabase
      const settings = { ...databaseEnvironment(database), DATABASE_MIGRATE: "false" }
      assert.match(String(yield* Effect.flip(withSettings(settings)(users))), /lacks the migrations 0001_spine/)
      const nowhere = { DATABASE_URL: "postgresql://a:b@127.0.0.1:1/c", DATABASE_START_TIMEOUT_SECONDS: "1" }
      assert.match(String(yield* Effect.flip(withSettings(nowhere)(users))), /SqlError/)
    }).pipe(Effect.provide(emptyDatabase))
  )
})
