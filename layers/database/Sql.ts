/**
 * One SQL client per database role. A service names in its requirements which role it acts as:
 * `OwnerSql` (migrations, partitions, retention), `PipelineSql` (services; may write for all tenants), `AppSql` (the API;
 * sees nothing outside a tenant's transaction).
 * @module
 */
import { Context } from "effect"
import type { SqlClient } from "effect/sql"

export class OwnerSql extends Context.Service<OwnerSql, SqlClient.SqlClient>()("argusiq/layers/database/OwnerSql") {}
export class PipelineSql extends Context.Service<PipelineSql, SqlClient.SqlClient>()(
  "argusiq/layers/database/PipelineSql"
) {}
export class AppSql extends Context.Service<AppSql, SqlClient.SqlClient>()("argusiq/layers/database/AppSql") {}
