import { assert, describe, it } from "@effect/vitest"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
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

  it.live("0003 takes the latest values over to their new form and back, to the microsecond", () =>
    Effect.gen(function* () {
      yield* Migrate.up({ to: 2 })
      const sql = yield* OwnerSql
      const tenant = randomUUID()
      yield* sql`insert into organizations (id, name, slug) values (${tenant}, 'A', 'a')`
      const newest = 1_763_725_301_123_457
      const rows = [
        { metrics: {}, newest_ts: null },
        { metrics: { t: { v: 21.5, ts: newest }, state: { v: "on", ts: newest, q: "bad" } }, newest_ts: newest },
        {
          metrics: { t: { v: { deep: [null] }, ts: newest - 1, q: "uncertain" }, open: { v: false, ts: newest } },
          newest_ts: newest
        }
      ].map((row) => ({ ...row, entity_id: randomUUID() }))
      for (const { entity_id, metrics, newest_ts } of rows) {
        yield* sql`insert into entity_latest (entity_id, entity_type, tenant_id, metrics, newest_ts, updated_at)
          values (${entity_id}, 'device', ${tenant}, ${JSON.stringify(metrics)}::text::jsonb, ${newest_ts}::float8::bigint, now())`
      }
      yield* Migrate.up({ to: 3 })
      const [first, second, third] = rows.map((row) => row.entity_id)
      const taken = yield* sql<{ entity_id: string }>`select entity_id, metrics, older, quality,
        (extract(epoch from nullif(newest_ts, '-infinity')) * 1000000)::float8 as newest from entity_latest`
      assert.deepStrictEqual(
        new Map(taken.map(({ entity_id, ...row }) => [entity_id, row])),
        new Map<unknown, object>([
          [first, { metrics: {}, older: null, quality: null, newest: null }],
          [second, { metrics: { t: 21.5, state: "on" }, older: null, quality: { state: "bad" }, newest }],
          [
            third,
            {
              metrics: { t: { deep: [null] }, open: false },
              older: { t: newest - 1 },
              quality: { t: "uncertain" },
              newest
            }
          ]
        ])
      )
      yield* Migrate.down()
      const back = yield* sql`select entity_id, metrics, newest_ts::float8 as newest_ts from entity_latest`
      assert.sameDeepMembers([...back], rows)
    }).pipe(Effect.provide(emptyDatabase))
  )

  it.live("0013 keeps who is signed in, up and down", () =>
    Effect.gen(function* () {
      yield* Migrate.up({ to: 12 })
      const sql = yield* OwnerSql
      const [tenant, user, open, ended] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()]
      yield* sql`insert into organizations (id, name, slug) values (${tenant}, 'A', 'a')`
      yield* sql`insert into users (id, email, name) values (${user}, 'a@b', 'A')`
      for (const [family, age, revoked] of [
        [open, "2 days", null],
        [open, "1 day", null],
        [ended, "1 day", new Date()]
      ] as const) {
        yield* sql`insert into refresh_tokens
            (id, user_id, tenant_id, family, token_hash, expires_at, revoked_at, created_at)
          values (${randomUUID()}, ${user}, ${tenant}, ${family}, decode(md5(random()::text), 'hex'),
            now() + interval '30 days' - ${age}::interval, ${revoked}, now() - ${age}::interval)`
      }
      const before = yield* sql`select * from refresh_tokens order by id`
      yield* Migrate.up({ to: 13 })
      const sessions =
        yield* sql`select id, ended_at is null as open, extract(day from expires_at - last_used_at)::int as days
        from sessions order by created_at`
      assert.deepStrictEqual(sessions, [
        { id: open, open: true, days: 30 },
        { id: ended, open: false, days: 30 }
      ])
      yield* Migrate.down()
      assert.deepStrictEqual(yield* sql`select * from refresh_tokens order by id`, before)
    }).pipe(Effect.provide(emptyDatabase))
  )
})
