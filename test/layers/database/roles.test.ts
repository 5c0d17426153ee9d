import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { AppSql, OwnerSql, PipelineSql } from "../../../layers/database/Sql.ts"
import { testDatabase } from "../../support/postgres.ts"

/** A refresh token is found by its hash before anybody knows whose it is: nothing but its hash leads to a row. */
const foundByHash = "refresh_tokens"

/** Tables that say of a row whose it is: those with a tenant, and the organizations themselves. */
const tenantTables = Effect.gen(function* () {
  const sql = yield* OwnerSql
  return yield* sql<{ name: string; enabled: boolean; forced: boolean }>`
    select relname as name, relrowsecurity as enabled, relforcerowsecurity as forced from pg_class
    where relnamespace = 'public'::regnamespace and relkind in ('r', 'p') and not relispartition
      and relname <> ${foundByHash} and (relname = 'organizations' or exists (
        select from pg_attribute where attrelid = pg_class.oid and attname = 'tenant_id' and not attisdropped))
    order by relname`
})

layer(testDatabase, { excludeTestServices: true })("the database's roles", (it) => {
  it.effect("row-level security is forced on every table that knows tenants", () =>
    Effect.gen(function* () {
      const tables = yield* tenantTables
      assert.isAbove(tables.length, 40)
      assert.deepStrictEqual(
        tables.filter(({ enabled, forced }) => !enabled || !forced).map(({ name }) => name),
        []
      )
    })
  )

  it.effect(
    "the application's and the pipeline's role are no superusers, bypass nothing, own nothing and belong to nobody",
    () =>
      Effect.gen(function* () {
        for (const sql of [yield* AppSql, yield* PipelineSql]) {
          const [role] = yield* sql<Record<string, boolean | string>>`
          select current_user::text as name, rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolreplication,
            exists (select from pg_class where relowner = pg_roles.oid) as "ownsRelations",
            exists (select from pg_proc where proowner = pg_roles.oid) as "ownsFunctions",
            exists (select from pg_namespace where nspowner = pg_roles.oid) as "ownsSchemas",
            exists (select from pg_database where datdba = pg_roles.oid) as "ownsDatabases",
            exists (select from pg_auth_members where member = pg_roles.oid) as "isMember",
            has_schema_privilege('public', 'CREATE') as "mayCreate"
          from pg_roles where rolname = current_user`
          const { name, ...rights } = role!
          assert.deepStrictEqual(
            new Set(Object.values(rights)),
            new Set([false]),
            `${String(name)} ${JSON.stringify(rights)}`
          )
        }
      })
  )

  it.effect("the application sees no row of any tenant's table while no tenant is set, and no partition at all", () =>
    Effect.gen(function* () {
      const owner = yield* OwnerSql
      const app = yield* AppSql
      yield* owner`insert into organizations (id, name, slug) values (gen_random_uuid(), 'T', 'roles-test')`
      const unreadable: Array<string> = []
      for (const { name } of yield* tenantTables) {
        const seen = yield* app
          .unsafe<{ count: number }>(`select count(*)::int as count from ${name}`)
          .pipe(Effect.catch(() => Effect.succeed(undefined)))
        if (seen === undefined) unreadable.push(name)
        else assert.strictEqual(seen[0]?.count, 0, name)
      }
      const [readable] = yield* owner<{ names: ReadonlyArray<string> }>`
        select coalesce(array_agg(relname::text) filter (where has_table_privilege('argusiq_app', oid, 'SELECT')), '{}') as names
        from pg_class where relnamespace = 'public'::regnamespace and relispartition`
      assert.deepStrictEqual(readable?.names, [])
      const allowed = yield* owner<{ name: string }>`
        select relname as name from pg_class where relname = any(${unreadable}::text[])
          and has_table_privilege('argusiq_app', oid, 'SELECT')`
      assert.deepStrictEqual(allowed, [], "a table that may be read could not be")
    })
  )
})
