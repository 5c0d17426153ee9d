/**
 * One SQL client per database role. A service names in its requirements which role it acts as:
 * `OwnerSql` (migrations, partitions, retention), `PipelineSql` (services; may write for all tenants), `AppSql` (the API;
 * sees nothing outside a tenant's transaction).
 * @module
 */
import type { PgClient } from "@effect/sql-pg"
import { Context } from "effect"

export class OwnerSql extends Context.Service<OwnerSql, PgClient.PgClient>()("argusiq/layers/database/OwnerSql") {}
export class PipelineSql extends Context.Service<PipelineSql, PgClient.PgClient>()(
  "argusiq/layers/database/PipelineSql"
) {}
export class AppSql extends Context.Service<AppSql, PgClient.PgClient>()("argusiq/layers/database/AppSql") {}
