/**
 * The product's database: embedded where `DATABASE_URL` is unset, else that PostgreSQL. Gives one pool for each role, with
 * the roles made and the migrations applied.
 * @module
 */
import { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { Clock, Config, Context, Effect, Layer, Option, type Redacted, Schedule, Schema } from "effect"
import { type SqlError } from "effect/sql/SqlError"
import * as Path from "node:path"
import { type PoolsOptions, pools } from "./connect.ts"
import * as EmbeddedPostgres from "./EmbeddedPostgres.ts"
import { describeSqlError, isUnavailable } from "./errors.ts"
import * as Migrate from "./migrate.ts"
import { framesTable, makeAhead, rawTable } from "./partitions.ts"
import { makeGroupRoles, roles, type RolesError } from "./roles.ts"
import { type AppSql, OwnerSql, PipelineSql } from "./Sql.ts"

/** For /ready and doctor. */
export class DatabaseHealth extends Context.Service<
  DatabaseHealth,
  {
    /** Fails when the database does not answer within 2 s, with what is known of why. */
    readonly check: Effect.Effect<void, DatabaseUnavailable>
    readonly kind: "embedded" | "external"
  }
>()("argusiq/layers/database/DatabaseHealth") {}

/** A process keeps up to five for its locks and for what it listens to; with fewer than two more nothing would be stored. */
export const LEAST_PIPELINE_CONNECTIONS = 7

const settings = Config.all({
  url: Config.option(Config.Redacted("DATABASE_URL")),
  pipelineUrl: Config.option(Config.Redacted("DATABASE_PIPELINE_URL")),
  appUrl: Config.option(Config.Redacted("DATABASE_APP_URL")),
  dataDirectory: Config.String("ARGUSIQ_DATA_DIR").pipe(Config.withDefault("./data")),
  /** false: the roles and migrations are somebody else's job; the start fails where one is pending. */
  migrate: Config.Boolean("DATABASE_MIGRATE").pipe(Config.withDefault(true)),
  /** Seconds in which an external PostgreSQL may come up. */
  startTimeout: Config.Int("DATABASE_START_TIMEOUT_SECONDS").pipe(Config.withDefault(60)),
  ownerConnections: poolSize("DATABASE_OWNER_CONNECTIONS", 4),
  pipelineConnections: poolSize("DATABASE_PIPELINE_CONNECTIONS", 20, LEAST_PIPELINE_CONNECTIONS),
  appConnections: poolSize("DATABASE_APP_CONNECTIONS", 16),
  /** Milliseconds; the owner's statements (migrations, moving rows into partitions) take what they take. */
  statementTimeout: Config.Int("DATABASE_STATEMENT_TIMEOUT_MS").pipe(Config.withDefault(30_000))
})

function poolSize(name: string, usual: number, least = 1) {
  const size = Schema.Int.check(Schema.isGreaterThanOrEqualTo(least))
  return Config.schema(Schema.FiniteFromString.pipe(Schema.decodeTo(size)), name).pipe(Config.withDefault(usual))
}

type Settings = Config.Success<typeof settings>

const poolsOf = (
  read: Settings,
  urls: {
    readonly owner: Redacted.Redacted
    readonly pipeline: Option.Option<Redacted.Redacted>
    readonly app: Option.Option<Redacted.Redacted>
  }
): PoolsOptions => ({
  owner: { url: urls.owner, maxConnections: read.ownerConnections, statementTimeout: 0 },
  pipeline: {
    url: Option.getOrElse(urls.pipeline, () => urls.owner),
    role: Option.isSome(urls.pipeline) ? undefined : roles.pipeline,
    maxConnections: read.pipelineConnections,
    statementTimeout: read.statementTimeout
  },
  app: {
    url: Option.getOrElse(urls.app, () => urls.owner),
    role: Option.isSome(urls.app) ? undefined : roles.app,
    maxConnections: read.appConnections,
    statementTimeout: read.statementTimeout
  }
})

const health = (kind: "embedded" | "external", server: Effect.Effect<void, DatabaseUnavailable>) =>
  Layer.effect(
    DatabaseHealth,
    Effect.map(PipelineSql, (sql) => ({
      kind,
      check: server.pipe(
        Effect.andThen(sql`select 1`),
        Effect.timeout("2 seconds"),
        Effect.asVoid,
        Effect.catchTag(
          "SqlError",
          (error: SqlError) => new DatabaseUnavailable({ cause: new Error(describeSqlError(error)) })
        ),
        Effect.catchTag("TimeoutError", (cause) => new DatabaseUnavailable({ cause }))
      )
    }))
  )

/** Partitions for what is measured now: without them everything would go to the default partitions first. */
const makePartitions = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const now = yield* Clock.currentTimeMillis
  for (const table of [framesTable, rawTable]) yield* makeAhead(sql, table, now)
})

/** Applies what is pending, or says what is where that is switched off. */
const prepare = (read: Settings) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      if (read.migrate) {
        const applied = yield* Migrate.up()
        if (applied.length > 0) yield* Effect.logInfo(`Migrations applied: ${applied.join(", ")}`)
        return yield* makePartitions
      }
      const pending = (yield* Migrate.status()).filter(({ appliedAt }) => appliedAt === undefined)
      if (pending.length > 0) {
        return yield* new Migrate.MigrationError({
          message:
            `The database lacks the migrations ${pending.map(({ name }) => name).join(", ")} and DATABASE_MIGRATE is off: ` +
            "run `argusiq migrate up`."
        })
      }
    })
  )

const embedded = (read: Settings) =>
  Layer.unwrap(
    Effect.map(EmbeddedPostgres.EmbeddedPostgres, (server) =>
      Layer.provideMerge(
        Layer.merge(health("embedded", server.health), prepare(read)),
        pools(
          poolsOf(read, {
            owner: server.url(roles.owner),
            pipeline: Option.some(server.url(roles.pipeline)),
            app: Option.some(server.url(roles.app))
          })
        )
      )
    )
  ).pipe(Layer.provideMerge(EmbeddedPostgres.layer({ directory: Path.join(read.dataDirectory, "postgres") })))

/** A PostgreSQL that is starting is waited for. A wrong password, role or database name fails at once. */
const reached = Effect.fnUntraced(function* ({ startTimeout }: Settings) {
  const sql = yield* OwnerSql
  let told = false
  yield* sql`select 1`.pipe(
    Effect.tapError((error) => {
      if (told || !isUnavailable(error)) return Effect.void
      told = true
      return Effect.logWarning(
        `The PostgreSQL of DATABASE_URL takes no connections yet; waiting up to ${startTimeout} s: ${describeSqlError(error)}`
      )
    }),
    Effect.retry({
      while: isUnavailable,
      schedule: Schedule.spaced("1 second").pipe(Schedule.upTo({ duration: startTimeout * 1_000 }))
    })
  )
})

const external = (read: Settings, url: Redacted.Redacted) => {
  const withoutLogin = [
    ...(Option.isNone(read.pipelineUrl) ? [roles.pipeline] : []),
    ...(Option.isNone(read.appUrl) ? [roles.app] : [])
  ]
  const groupRoles = Effect.flatMap(OwnerSql, (sql) => makeGroupRoles(sql, withoutLogin))
  return Layer.merge(health("external", Effect.void), prepare(read)).pipe(
    Layer.provideMerge(Layer.effectDiscard(read.migrate ? Effect.andThen(reached(read), groupRoles) : reached(read))),
    Layer.provideMerge(pools(poolsOf(read, { owner: url, pipeline: read.pipelineUrl, app: read.appUrl })))
  )
}

/** Why the database cannot be used. */
export type DatabaseError = EmbeddedPostgres.PostgresStartError | Migrate.MigrationError | RolesError | SqlError

/** The three roles' clients and the database's health, as the settings say. */
export const layer = Layer.unwrap(
  Effect.map(settings, (read): Layer.Layer<OwnerSql | PipelineSql | AppSql | DatabaseHealth, DatabaseError> =>
    Option.isNone(read.url) ? embedded(read) : external(read, read.url.value)
  )
)
