/**
 * A superuser's look into the embedded PostgreSQL of a running platform, for tests and benchmarks.
 * @module
 */
import { PgClient } from "@effect/sql-pg"
import { Effect, Exit, Redacted, Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import { readFileSync } from "node:fs"
import { join } from "node:path"

export interface Superuser {
  query<Row extends object>(statement: string): Promise<ReadonlyArray<Row>>
  close(): Promise<void>
}

export const connectSuperuser = async (dataDirectory: string, database = "argusiq"): Promise<Superuser> => {
  const { port, passwords } = JSON.parse(readFileSync(join(dataDirectory, "postgres", "connection.json"), "utf8")) as {
    port: number
    passwords: { postgres: string }
  }
  const scope = Effect.runSync(Scope.make())
  const url = Redacted.make(`postgresql://postgres:${passwords.postgres}@127.0.0.1:${port}/${database}`)
  const sql = await Effect.runPromise(
    PgClient.make({ url, maxConnections: 1 }).pipe(Effect.provide(Reactivity.layer), Scope.provide(scope))
  )
  return {
    query: <Row extends object>(statement: string) => Effect.runPromise(sql.unsafe<Row>(statement)),
    close: () => Effect.runPromise(Scope.close(scope, Exit.void))
  }
}
