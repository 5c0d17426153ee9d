/**
 * What a database's schema is, as text that two states of it can be compared by.
 * @module
 */
import { Effect } from "effect"
import { OwnerSql } from "../../layers/database/Sql.ts"

const parts: Readonly<Record<string, string>> = {
  relations: `select concat_ws(' ', relname, relkind, relrowsecurity, relforcerowsecurity, reloptions,
      pg_get_expr(relpartbound, oid)) as line
    from pg_class where relnamespace = 'public'::regnamespace`,
  columns: `select concat_ws(' ', table_name, column_name, ordinal_position, data_type, is_nullable, column_default,
      is_identity) as line
    from information_schema.columns where table_schema = 'public'`,
  constraints: `select concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid)) as line
    from pg_constraint where connamespace = 'public'::regnamespace`,
  indexes: `select indexdef as line from pg_indexes where schemaname = 'public'`,
  policies: `select concat_ws(' ', tablename, policyname, permissive, roles, cmd, qual, with_check) as line
    from pg_policies where schemaname = 'public'`,
  grants: `select concat_ws(' ', relname, relacl) as line from pg_class where relnamespace = 'public'::regnamespace
    union all select concat_ws(' ', relname, attname, attacl) from pg_attribute join pg_class on pg_class.oid = attrelid
      where relnamespace = 'public'::regnamespace and attacl is not null
    union all select concat_ws(' ', nspname, nspacl) from pg_namespace where nspname = 'public'
    union all select concat_ws(' ', proname, proacl) from pg_proc where pronamespace = 'public'::regnamespace`,
  functions: `select pg_get_functiondef(oid) as line from pg_proc where pronamespace = 'public'::regnamespace`,
  triggers: `select pg_get_triggerdef(oid) as line from pg_trigger where not tgisinternal`,
  views: `select concat_ws(' ', viewname, definition) as line from pg_views where schemaname = 'public'`
}

/** The lines of each part of the catalogue, sorted. The runner's own table is in it too. */
export const catalogue = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const dump: Record<string, ReadonlyArray<string>> = {}
  for (const [part, statement] of Object.entries(parts)) {
    const rows = yield* sql.unsafe<{ line: string }>(statement)
    dump[part] = rows.map(({ line }) => line).toSorted()
  }
  return dump
})
