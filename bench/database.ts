/**
 * A fresh embedded PostgreSQL for a measurement, and storing in it as the platform does.
 * @module
 */
import type { NormalizedMessage } from "@argusiq/domain/readings.ts"
import { pools } from "@argusiq/layers/database/connect.ts"
import * as EmbeddedPostgres from "@argusiq/layers/database/EmbeddedPostgres.ts"
import * as Migrate from "@argusiq/layers/database/migrate.ts"
import { OwnerSql, PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { TelemetryStore } from "@argusiq/layers/telemetry/TelemetryStore.ts"
import { Effect, Layer } from "effect"
import { chmodSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { cpuMicros } from "../test/support/processes.ts"

/** Of each role. */
export const CONNECTIONS = 4

const connected = Layer.unwrap(
  Effect.map(EmbeddedPostgres.EmbeddedPostgres, (server) => {
    const pool = (role: "argusiq_owner" | "argusiq_pipeline" | "argusiq_app") => ({
      url: server.url(role),
      maxConnections: CONNECTIONS,
      statementTimeout: 0
    })
    return pools({ owner: pool("argusiq_owner"), pipeline: pool("argusiq_pipeline"), app: pool("argusiq_app") })
  })
)

/** The server and its pools, in a directory of its own that goes with it. */
export const freshDatabase = (name: string) =>
  Layer.unwrap(
    Effect.map(
      Effect.acquireRelease(
        Effect.sync(() => {
          const directory = mkdtempSync(join(tmpdir(), `argusiq-bench-${name}-`))
          chmodSync(directory, 0o755) // PostgreSQL runs as another user when this one is root
          return directory
        }),
        (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
      ),
      (directory) => Layer.provideMerge(connected, EmbeddedPostgres.layer({ directory: join(directory, "postgres") }))
    )
  )

/** Processor time of the server so far, microseconds. */
export const serverMicros = Effect.flatMap(EmbeddedPostgres.EmbeddedPostgres, ({ pid }) =>
  Effect.map(pid, (one) => (one === undefined ? 0 : cpuMicros(one, { withDescendants: true })))
)

/** The schema, an organisation, and partitions that hold what is of yesterday and today. */
export const prepareTables = Effect.fnUntraced(function* (tenantId: string) {
  yield* Migrate.up()
  const owner = yield* OwnerSql
  yield* owner`insert into organizations (id, name, slug) values (${tenantId}, 'Bench', 'bench')`
  for (const table of ["telemetry_frames", "telemetry_raw"]) {
    yield* owner.unsafe(`create table ${table}_bench partition of ${table}
      for values from (now() - interval '1 day') to (now() + interval '1 day')`)
  }
})

/** As the consumer loop stores, in the pipeline's role: one transaction a batch, the WAL flushed later. */
export const inTransaction = <E, R>(rows: Effect.Effect<void, E, R>) =>
  Effect.flatMap(PipelineSql, (sql) =>
    sql.withTransaction(Effect.andThen(sql`set local synchronous_commit = off`, rows))
  )

export const storeReadings = (batch: ReadonlyArray<NormalizedMessage>) =>
  Effect.flatMap(TelemetryStore, (store) => inTransaction(store.storeReadings(batch)))

export interface StoringCost {
  readonly perSecond: number
  readonly nodeMicrosEach: number
  readonly serverMicrosEach: number
}

/** What storing batches costs on all connections at a time, after a fifth of them to warm up. */
export const storingCost = Effect.fnUntraced(function* <A, E, R>(
  batches: ReadonlyArray<ReadonlyArray<A>>,
  store: (batch: ReadonlyArray<A>) => Effect.Effect<void, E, R>
) {
  const warmUp = Math.ceil(batches.length / 5)
  const run = (some: ReadonlyArray<ReadonlyArray<A>>) =>
    Effect.forEach(some, store, { concurrency: CONNECTIONS, discard: true })
  yield* run(batches.slice(0, warmUp))
  const measured = batches.slice(warmUp)
  const count = measured.reduce((sum, batch) => sum + batch.length, 0)
  const node = process.cpuUsage()
  const server = yield* serverMicros
  const started = performance.now()
  yield* run(measured)
  const seconds = (performance.now() - started) / 1_000
  const { system, user } = process.cpuUsage(node)
  return {
    perSecond: count / seconds,
    nodeMicrosEach: (system + user) / count,
    serverMicrosEach: ((yield* serverMicros) - server) / count
  } satisfies StoringCost
})

export const batchesOf = <A>(rows: number, size: number, make: (index: number) => A) =>
  Array.from({ length: Math.ceil(rows / size) }, (_, batch) =>
    Array.from({ length: size }, (__, index) => make(batch * size + index))
  )
