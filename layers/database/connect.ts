import { PgClient } from "@effect/sql-pg"
import { type Context, Layer, type Redacted } from "effect"
import { Reactivity } from "effect/reactivity"
import { type SqlError } from "effect/sql/SqlError"
import { AppSql, OwnerSql, PipelineSql } from "./Sql.ts"

/** One role's pool. */
export interface PoolOptions {
  readonly url: Redacted.Redacted
  readonly maxConnections: number
  /** Milliseconds after which PostgreSQL gives up a statement; 0 is never. */
  readonly statementTimeout: number
  /** The role to act as, where the URL logs in as another one. */
  readonly role?: string | undefined
}

export interface PoolsOptions {
  readonly owner: PoolOptions
  readonly pipeline: PoolOptions
  readonly app: PoolOptions
}

/** The three pools. Connections open when first used. Never multiplexed: a tenant's transaction has its connection alone. */
export const pools = (options: PoolsOptions): Layer.Layer<OwnerSql | PipelineSql | AppSql, SqlError> =>
  Layer.mergeAll(
    pool(OwnerSql, "owner", options.owner),
    pool(PipelineSql, "pipeline", options.pipeline),
    pool(AppSql, "app", options.app)
  )

const pool = <Self>(service: Context.Key<Self, PgClient.PgClient>, name: string, options: PoolOptions) =>
  Layer.effect(
    service,
    PgClient.make({
      url: options.url,
      maxConnections: options.maxConnections,
      applicationName: `argusiq-${name}`,
      multiplex: false,
      connectTimeout: "5 seconds",
      keepAlive: "30 seconds",
      startupParameters: {
        statement_timeout: String(options.statementTimeout),
        // A transaction that its client has forgotten would hold its locks for good.
        idle_in_transaction_session_timeout: "60000",
        ...(options.role === undefined ? {} : { role: options.role })
      }
    })
  ).pipe(Layer.provide(Reactivity.layer))
