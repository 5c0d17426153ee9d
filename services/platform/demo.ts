/**
 * The demo organisation of `migrations/demo`.
 * @module
 */
import { migrationsDirectory } from "@argusiq/layers/database/migrate.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Effect } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"

export const demoOrganizationId = "d0000000-0000-4000-8000-000000000001"
const scripts = ["devices.sql", "assets.sql"].map((name) => join(migrationsDirectory, "demo", name))

/** Loads the demo organisation in one transaction. Repeatable: what is there already, changed or not, is left alone. */
export const loadDemo = Effect.gen(function* () {
  const sql = yield* OwnerSql
  // PL/pgSQL runs a text of many statements; the wire protocol's prepared statements take one each.
  const executions = scripts.map((script) => `execute $script$${readFileSync(script, "utf8")}$script$;`)
  yield* sql.unsafe(`do $load$ begin ${executions.join(" ")} end $load$`)
  const [counted] = yield* sql<{ devices: number; types: number }>`
    select (select count(*)::int from devices where tenant_id = ${demoOrganizationId}) as devices,
      (select count(*)::int from device_types where tenant_id = ${demoOrganizationId}) as types`
  return counted ?? { devices: 0, types: 0 }
})
