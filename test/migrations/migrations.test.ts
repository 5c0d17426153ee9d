import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as Migrate from "../../layers/database/migrate.ts"
import { catalogue } from "../support/catalogue.ts"
import { emptyDatabase } from "../support/postgres.ts"

describe("the migrations", () => {
  it.live("up, down and up leave the same schema, and down leaves nothing", () =>
    Effect.gen(function* () {
      const applied = yield* Migrate.up()
      assert.isAbove(applied.length, 0)
      const first = yield* catalogue
      assert.isAbove(first["policies"]?.length ?? 0, 20)
      const takenBack = yield* Migrate.down({ to: 0 })
      assert.deepStrictEqual([...takenBack].toReversed(), applied)
      const empty = yield* catalogue
      assert.deepStrictEqual(
        empty["relations"]?.filter((line) => !line.startsWith("schema_migrations")),
        []
      )
      assert.deepStrictEqual(empty["functions"], [])
      assert.deepStrictEqual(yield* Migrate.up(), applied)
      assert.deepStrictEqual(yield* catalogue, first)
    }).pipe(Effect.provide(emptyDatabase))
  )

  it.live("each taken back alone leaves the schema before it", () =>
    Effect.gen(function* () {
      for (const { number } of yield* Migrate.readMigrations()) {
        yield* Migrate.up({ to: number - 1 })
        const before = yield* catalogue
        yield* Migrate.up({ to: number })
        yield* Migrate.down()
        // The runner's own table comes with its first use.
        if (number > 1) assert.deepStrictEqual(yield* catalogue, before)
        yield* Migrate.up({ to: number })
      }
    }).pipe(Effect.provide(emptyDatabase))
  )
})
