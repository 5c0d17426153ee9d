/**
 * Databases for tests on the one PostgreSQL of the run.
 * @module
 */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Layer, Redacted } from "effect"
import { Reactivity } from "effect/reactivity"
import { randomBytes } from "node:crypto"
import { inject } from "vitest"
import { pools } from "../../layers/database/connect.ts"
import { type AppSql, type OwnerSql, type PipelineSql } from "../../layers/database/Sql.ts"

/** The fresh database's name and its `postgresql://` URLs, for processes that a test starts. */
export class TestDatabase extends Context.Service<
  TestDatabase,
  { readonly name: string; readonly owner: string; readonly pipeline: string; readonly app: string }
>()("argusiq/test/TestDatabase") {}

/** As `DATABASE_URL` and its kin name them. */
export const databaseEnvironment = (database: TestDatabase["Service"]) => ({
  DATABASE_URL: database.owner,
  DATABASE_PIPELINE_URL: database.pipeline,
  DATABASE_APP_URL: database.app
})

const databaseFrom = (template: string | undefined) =>
  Layer.effect(
    TestDatabase,
    Effect.gen(function* () {
      const server = inject("postgres")
      const name = `test_${randomBytes(6).toString("hex")}`
      const asSuperuser = (statement: string) =>
        Effect.scoped(
          Effect.flatMap(PgClient.makeClient({ url: Redacted.make(`${server.superuser}postgres`) }), (sql) =>
            sql.unsafe(statement)
          )
        ).pipe(Effect.provide(Reactivity.layer), Effect.orDie)
      yield* Effect.acquireRelease(
        asSuperuser(
          `create database ${name} owner argusiq_owner` + (template === undefined ? "" : ` template ${template}`)
        ),
        () => asSuperuser(`drop database if exists ${name} with (force)`)
      )
      return {
        name,
        owner: `${server.owner}${name}`,
        pipeline: `${server.pipeline}${name}`,
        app: `${server.app}${name}`
      }
    })
  )

const pool = (url: string) => ({ url: Redacted.make(url), maxConnections: 8, statementTimeout: 20_000 })

const poolsOf = Layer.unwrap(
  Effect.map(TestDatabase, (database) =>
    pools({ owner: pool(database.owner), pipeline: pool(database.pipeline), app: pool(database.app) })
  )
)

/** A fresh, migrated database, dropped afterwards, and its three roles. */
export const testDatabase: Layer.Layer<OwnerSql | PipelineSql | AppSql | TestDatabase> = Layer.provideMerge(
  poolsOf,
  Layer.suspend(() => databaseFrom(inject("postgres").template))
).pipe(Layer.orDie, Layer.fresh)

/** The same without a schema. */
export const emptyDatabase: Layer.Layer<OwnerSql | PipelineSql | AppSql | TestDatabase> = Layer.provideMerge(
  poolsOf,
  databaseFrom(undefined)
).pipe(Layer.orDie, Layer.fresh)
