/**
 * One real PostgreSQL for the whole test run, on a free port in a fresh directory: started before the first test, stopped
 * and removed after the last. It holds a migrated template, of which `testDatabase` makes its databases.
 * @module
 */
import { PgClient } from "@effect/sql-pg"
import { Context, Effect, Exit, Layer, Redacted, Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { type TestProject } from "vitest/node"
import { pools } from "../../layers/database/connect.ts"
import * as EmbeddedPostgres from "../../layers/database/EmbeddedPostgres.ts"
import * as Migrate from "../../layers/database/migrate.ts"
import { makeServerRoles, roles } from "../../layers/database/roles.ts"
import { provideComponents } from "./components/all.ts"
import { components } from "./components/running.ts"

export interface TestServer {
  readonly port: number
  readonly template: string
  /** `postgresql://` URLs without a database. */
  readonly superuser: string
  readonly owner: string
  readonly pipeline: string
  readonly app: string
}

declare module "vitest" {
  interface ProvidedContext {
    readonly postgres: TestServer
  }
}

const template = "argusiq_template"

type Role = "postgres" | (typeof roles)[keyof typeof roles]

/** A running server with its roles. */
interface Server {
  readonly port: number
  readonly url: (role: Role, database: string) => Redacted.Redacted
}

const addTemplate = Effect.fnUntraced(function* (server: Server) {
  // Over TCP: tests append the name of their database, and what follows it would be in the way.
  const urlOf = (role: Role) => Redacted.value(server.url(role, "")).replace(/\?.*/, "")
  yield* Effect.scoped(
    Effect.gen(function* () {
      const superuser = yield* PgClient.makeClient({ url: server.url("postgres", "postgres") })
      yield* superuser.unsafe(`create database ${template} owner argusiq_owner template template0`)
      const pool = { url: server.url("argusiq_owner", template), maxConnections: 2, statementTimeout: 0 }
      yield* Effect.provide(Migrate.up(), pools({ owner: pool, pipeline: pool, app: pool }))
      yield* superuser.unsafe(`alter database ${template} with is_template true allow_connections false`)
    })
  ).pipe(Effect.provide(Reactivity.layer))
  return {
    port: server.port,
    template,
    superuser: urlOf("postgres"),
    owner: urlOf("argusiq_owner"),
    pipeline: urlOf("argusiq_pipeline"),
    app: urlOf("argusiq_app")
  } satisfies TestServer
})

/** The databases of a test run end with it; tests of durability run servers of their own. */
const settings = { fsync: "off", synchronous_commit: "off", full_page_writes: "off", max_connections: "200" }

/** A server for the run, stopped when the scope closes. */
const startServer = Effect.fnUntraced(function* (directory: string) {
  const startOutside = components.startPostgres
  if (startOutside === undefined) {
    const server = EmbeddedPostgres.layer({ directory: Path.join(directory, "postgres"), settings })
    return Context.get(yield* Layer.build(server), EmbeddedPostgres.EmbeddedPostgres) satisfies Server
  }
  const { password, port } = yield* Effect.acquireRelease(
    Effect.promise(() => startOutside(settings)),
    ({ stop }) => Effect.promise(stop)
  )
  const server: Server = {
    port,
    url: (role, database) => Redacted.make(`postgresql://${role}:${password}@127.0.0.1:${port}/${database}`)
  }
  const passwords = Object.fromEntries(Object.values(roles).map((role) => [role, password]))
  yield* Effect.scoped(
    Effect.flatMap(PgClient.makeClient({ url: server.url("postgres", "postgres") }), (sql) =>
      makeServerRoles(sql, passwords, EmbeddedPostgres.databaseName)
    )
  ).pipe(Effect.provide(Reactivity.layer))
  return server
})

export default async (project: TestProject) => {
  const mustHaveAll = process.env["CI"] === "true" && components.startPostgres === undefined
  if (mustHaveAll) for (const line of provideComponents()) console.error(line)
  const directory = Fs.mkdtempSync(Path.join(Os.tmpdir(), "argusiq-test-postgres-"))
  Fs.chmodSync(directory, 0o755)
  const scope = Effect.runSync(Scope.make())
  const stop = async () => {
    await Effect.runPromise(Scope.close(scope, Exit.void))
    Fs.rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
  }
  try {
    const started = Effect.flatMap(startServer(directory), addTemplate).pipe(Scope.provide(scope))
    project.provide("postgres", await Effect.runPromise(started))
  } catch (cause) {
    await stop()
    throw cause
  }
  return stop
}
