/**
 * One SQL client per database role. A service names in its requirements which role it acts as:
 * `OwnerSql` (migrations, partitions, retention), `PipelineSql` (services; may write for all tenants), `AppSql` (the API;
 * sees nothing outside a tenant's transaction).
 * @module
 */
import type { PgClient } from "@effect/sql-pg"
import { Context } from "effect"
import type { WithGuard } from "./guardedTransactions.ts"

export interface PipelineClient extends PgClient.PgClient {
  readonly withGuard: WithGuard
}

export class OwnerSql extends Context.Service<OwnerSql, PgClient.PgClient>()("argusiq/layers/database/OwnerSql") {}
export class PipelineSql extends Context.Service<PipelineSql, PipelineClient>()(
  "argusiq/layers/database/PipelineSql"
) {}
export class AppSql extends Context.Service<AppSql, PgClient.PgClient>()("argusiq/layers/database/AppSql") {}
