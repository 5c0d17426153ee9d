import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import * as Migrate from "../../../layers/database/migrate.ts"
import { OwnerSql } from "../../../layers/database/Sql.ts"
import { emptyDatabase } from "../../support/postgres.ts"

const files = (contents: Readonly<Record<string, string>>) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const directory = Fs.mkdtempSync(Path.join(Os.tmpdir(), "argusiq-migrations-"))
      for (const [name, text] of Object.entries(contents)) Fs.writeFileSync(Path.join(directory, name), text)
      return directory
    }),
    (directory) => Effect.sync(() => Fs.rmSync(directory, { recursive: true }))
  )
const table = (name: string) =>
  `-- migrate:up\ncreate table ${name} (note text default ';$$');\nselect 1; -- with a ' in it\n-- migrate:down\ndrop table ${name};\n`
const tables = Effect.flatMap(OwnerSql, (sql) =>
  Effect.map(
    sql<{ name: string }>`select tablename::text as name from pg_tables where schemaname = 'public' order by 1`,
    (rows) => rows.map(({ name }) => name).filter((name) => name !== "schema_migrations")
  )
)

describe("the migration runner", () => {
  it.live("applies in order, up to a number, takes back one step or to a number, and tells what is applied", () =>
    Effect.gen(function* () {
      const directory = yield* files({ "0001_a.sql": table("a"), "0002_b.sql": table("b"), "0003_c.sql": table("c") })
      assert.deepStrictEqual(yield* Migrate.up({ directory, to: 2 }), ["0001_a", "0002_b"])
      assert.deepStrictEqual(
        (yield* Migrate.status({ directory })).map(({ appliedAt, name }) => [name, appliedAt !== undefined]),
        [
          ["0001_a", true],
          ["0002_b", true],
          ["0003_c", false]
        ]
      )
      assert.deepStrictEqual(yield* Migrate.up({ directory }), ["0003_c"])
      assert.deepStrictEqual(yield* Migrate.up({ directory }), [])
      assert.deepStrictEqual(yield* Migrate.down({ directory }), ["0003_c"])
      assert.deepStrictEqual(yield* tables, ["a", "b"])
      assert.deepStrictEqual(yield* Migrate.down({ directory, to: 0 }), ["0002_b", "0001_a"])
      assert.deepStrictEqual(yield* Migrate.down({ directory }), [])
      assert.deepStrictEqual(yield* tables, [])
    }).pipe(Effect.provide(emptyDatabase))
  )

  it.live("leaves nothing of a migration that fails, and says what PostgreSQL said", () =>
    Effect.gen(function* () {
      const directory = yield* files({
        "0001_a.sql": table("a"),
        "0002_b.sql": "-- migrate:up\ncreate table b ();\ncreate table a ();\n-- migrate:down\n"
      })
      const error = yield* Effect.flip(Migrate.up({ directory }))
      assert.match(error.message, /0002_b \(up\): .*relation "a" already exists/)
      assert.deepStrictEqual(yield* tables, ["a"])
    }).pipe(Effect.provide(emptyDatabase))
  )

  it.live("refuses a changed file that was applied, and a database of a newer release", () =>
    Effect.gen(function* () {
      const directory = yield* files({ "0001_a.sql": table("a"), "0002_b.sql": table("b") })
      yield* Migrate.up({ directory })
      Fs.appendFileSync(Path.join(directory, "0001_a.sql"), "\n")
      const attempts = [
        Effect.asVoid(Migrate.up({ directory })),
        Effect.asVoid(Migrate.down({ directory })),
        Effect.asVoid(Migrate.status({ directory }))
      ]
      for (const attempt of attempts) {
        const error = yield* Effect.flip(attempt)
        assert.match(error.message, /0001_a.sql has been changed since it was applied/)
      }
      Fs.writeFileSync(Path.join(directory, "0001_a.sql"), table("a"))
      Fs.rmSync(Path.join(directory, "0002_b.sql"))
      assert.match((yield* Effect.flip(Migrate.up({ directory }))).message, /0002_b, which this release does not know/)
    }).pipe(Effect.provide(emptyDatabase))
  )

  it.live("applies each migration once when several start together", () =>
    Effect.gen(function* () {
      const directory = yield* files({ "0001_a.sql": table("a"), "0002_b.sql": table("b") })
      const applied = yield* Effect.all(
        Array.from({ length: 4 }, () => Migrate.up({ directory })),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(applied.flat().toSorted(), ["0001_a", "0002_b"])
    }).pipe(Effect.provide(emptyDatabase))
  )

  it.live("refuses a file that is no migration", () =>
    Effect.gen(function* () {
      const directory = yield* files({ "0001_a.sql": "create table a ();" })
      assert.match((yield* Effect.flip(Migrate.readMigrations(directory))).message, /0001_a.sql: a migration is called/)
    })
  )
})
