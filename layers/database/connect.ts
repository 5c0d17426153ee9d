import { PgClient } from "@effect/sql-pg"
import { Effect, Layer, type Redacted } from "effect"
import { Reactivity } from "effect/reactivity"
import { type SqlError } from "effect/sql/SqlError"
import { makeWithGuard } from "./guardedTransactions.ts"
import { AppSql, OwnerSql, PipelineSql } from "./Sql.ts"

/** Of the pipeline's: up to five that a process keeps for its locks and for what it listens to, and one for what it asks. */
const KEPT_CONNECTIONS = 6

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

/** The three pools. Connections open when first used. A tenant's transaction has its connection alone. */
export const pools = (options: PoolsOptions): Layer.Layer<OwnerSql | PipelineSql | AppSql, SqlError> =>
  Layer.mergeAll(
    Layer.effect(OwnerSql, client("owner", options.owner)),
    Layer.effect(PipelineSql, pipelineClient(options.pipeline)),
    Layer.effect(AppSql, client("app", options.app))
  ).pipe(Layer.provide(Reactivity.layer))

const client = (name: string, options: PoolOptions) => PgClient.make(configOf(name, options))

const pipelineClient = Effect.fnUntraced(function* (options: PoolOptions) {
  const { maxConnections } = options
  const guarded = Math.max(1, Math.min(maxConnections >> 1, maxConnections - KEPT_CONNECTIONS))
  const sql = yield* client("pipeline", { ...options, maxConnections: Math.max(1, maxConnections - guarded) })
  const withGuard = yield* makeWithGuard(sql, configOf("pipeline", { ...options, maxConnections: guarded }))
  return Object.assign(sql, { withGuard })
})

const configOf = (name: string, options: PoolOptions) =>
  ({
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
  }) as const
