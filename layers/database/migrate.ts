/**
 * Runs the files of `migrations/`: `NNNN_name.sql` with the parts `-- migrate:up` and `-- migrate:down`. Each migration is
 * one transaction under an advisory lock, so several processes may start at once. An applied file must stay as it was.
 * @module
 */
import { Effect, Schema } from "effect"
import { type SqlError } from "effect/sql/SqlError"
import { createHash, randomBytes } from "node:crypto"
import * as Fs from "node:fs/promises"
import * as Path from "node:path"
import { fileURLToPath } from "node:url"
import { describeSqlError } from "./errors.ts"
import { OwnerSql } from "./Sql.ts"

export interface Migration {
  readonly number: number
  /** As the file is called, without `.sql`. */
  readonly name: string
  readonly up: string
  readonly down: string
  /** SHA-256 of the file, hex. */
  readonly checksum: string
}

/** `message` names the migration, what is wrong with it and what to do. */
export class MigrationError extends Schema.TaggedError<MigrationError>()("MigrationError", {
  message: Schema.String,
  cause: Schema.optionalKey(Schema.Defect())
}) {}

export const migrationsDirectory = fileURLToPath(new URL("../../migrations/", import.meta.url))

/** All migrations of a directory in order. */
export const readMigrations = Effect.fn("migrate.readMigrations")(function* (directory: string = migrationsDirectory) {
  const failed = (cause: unknown) => new MigrationError({ message: `${directory} cannot be read: ${cause}`, cause })
  const files = yield* Effect.tryPromise({ try: () => Fs.readdir(directory), catch: failed })
  const migrations: Array<Migration> = []
  for (const file of files.filter((file) => file.endsWith(".sql")).toSorted()) {
    const text = yield* Effect.tryPromise({ try: () => Fs.readFile(Path.join(directory, file), "utf8"), catch: failed })
    const migration = parseMigration(file, text)
    if (migration === undefined) {
      return yield* new MigrationError({
        message: `${file}: a migration is called NNNN_name.sql and has the lines "-- migrate:up" and "-- migrate:down"`
      })
    }
    if (migrations.at(-1)?.number === migration.number) {
      return yield* new MigrationError({
        message: `${file}: there is another migration with the number ${migration.number}`
      })
    }
    migrations.push(migration)
  }
  return migrations
})

const parseMigration = (file: string, text: string): Migration | undefined => {
  const name = /^(\d{4})_\w+\.sql$/.exec(file)
  const parts = /^-- migrate:up$([^]*)^-- migrate:down$([^]*)/m.exec(text)
  if (name?.[1] === undefined || parts?.[1] === undefined || parts[2] === undefined) return undefined
  return {
    number: Number(name[1]),
    name: file.slice(0, -".sql".length),
    up: parts[1],
    down: parts[2],
    checksum: createHash("sha256").update(text).digest("hex")
  }
}

export interface MigrationStatus {
  readonly name: string
  /** Undefined: pending. */
  readonly appliedAt: Date | undefined
}

interface Applied {
  readonly number: number
  readonly name: string
  readonly checksum: string
  readonly appliedAt: Date
}

/** Applies what is pending, up to the migration number `to` where given. Answers the names of those applied. */
export const up = Effect.fn("migrate.up")(function* (
  options: { readonly to?: number; readonly directory?: string } = {}
) {
  const migrations = yield* readMigrations(options.directory)
  return yield* untilDone((applied) => {
    const pending = migrations.find((migration) => !applied.some(({ number }) => number === migration.number))
    return pending === undefined || pending.number > (options.to ?? Infinity) ? undefined : [pending, "up"]
  }, migrations)
})

/** Takes back the newest migration, or all above the number `to`. Answers the names of those taken back. */
export const down = Effect.fn("migrate.down")(function* (
  options: { readonly to?: number; readonly directory?: string } = {}
) {
  const migrations = yield* readMigrations(options.directory)
  let before: number | undefined
  return yield* untilDone((applied) => {
    const newest = applied.at(-1)
    before ??= newest?.number
    const lowest = options.to ?? (before ?? 0) - 1
    if (newest === undefined || newest.number <= lowest) return undefined
    const migration = migrations.find(({ number }) => number === newest.number)
    return migration === undefined ? undefined : [migration, "down"]
  }, migrations)
})

/** Every migration of the directory and whether it is applied. */
export const status = Effect.fn("migrate.status")(function* (options: { readonly directory?: string } = {}) {
  const migrations = yield* readMigrations(options.directory)
  const sql = yield* OwnerSql
  const known = yield* sql<{ known: boolean }>`select to_regclass('schema_migrations') is not null as known`
  const applied = known[0]?.known === true ? yield* readApplied : []
  yield* checkApplied(applied, migrations)
  return migrations.map(({ name, number }): MigrationStatus => ({
    name,
    appliedAt: applied.find((row) => row.number === number)?.appliedAt
  }))
})

type Step = readonly [Migration, "up" | "down"]

/** One step a transaction, each decided from what is applied at that moment, under the lock. */
const untilDone = Effect.fnUntraced(function* (
  next: (applied: ReadonlyArray<Applied>) => Step | undefined,
  migrations: ReadonlyArray<Migration>
) {
  const sql = yield* OwnerSql
  const done: Array<string> = []
  const oneStep = sql.withTransaction(
    Effect.gen(function* () {
      yield* sql`select pg_advisory_xact_lock(hashtext('argusiq/migrations'))`
      yield* sql`create table if not exists schema_migrations (
        number int primary key, name text not null, checksum text not null, applied_at timestamptz not null default now()
      )`
      const applied = yield* readApplied
      yield* checkApplied(applied, migrations)
      const step = next(applied)
      if (step === undefined) return false
      const [migration, direction] = step
      yield* sql
        .unsafe(asOneStatement(migration[direction]))
        .pipe(
          Effect.mapError(
            (cause: SqlError) =>
              new MigrationError({ message: `${migration.name} (${direction}): ${describeSqlError(cause)}`, cause })
          )
        )
      yield* direction === "up"
        ? sql`insert into schema_migrations (number, name, checksum)
            values (${migration.number}, ${migration.name}, ${migration.checksum})`
        : sql`delete from schema_migrations where number = ${migration.number}`
      done.push(migration.name)
      return true
    })
  )
  while (yield* oneStep) {
    // One after the other.
  }
  return done as ReadonlyArray<string>
})

const readApplied = Effect.flatMap(
  OwnerSql,
  (sql) => sql<Applied>`select number, name, checksum, applied_at as "appliedAt" from schema_migrations order by number`
)

const checkApplied = (applied: ReadonlyArray<Applied>, migrations: ReadonlyArray<Migration>) => {
  for (const row of applied) {
    const migration = migrations.find(({ number }) => number === row.number)
    if (migration === undefined) {
      return Effect.fail(
        new MigrationError({
          message:
            `The database has the migration ${row.name}, which this release does not know: ` +
            "it was used with a newer release. Start that one."
        })
      )
    }
    if (migration.checksum !== row.checksum) {
      return Effect.fail(
        new MigrationError({
          message:
            `${migration.name}.sql has been changed since it was applied (${row.appliedAt.toISOString()}). ` +
            "Restore the file and put the change in a migration of its own."
        })
      )
    }
  }
  return Effect.void
}

/** The wire protocol's prepared statements take one statement each; PL/pgSQL runs a text of many. */
const asOneStatement = (script: string): string => {
  const tag = `_${randomBytes(8).toString("hex")}`
  return `do $do${tag}$ begin execute $script${tag}$${script}$script${tag}$; end $do${tag}$`
}
