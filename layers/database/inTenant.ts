/**
 * The only ways for the application's role to see rows. What a transaction is allowed to see is set inside it and ends with
 * it: connections go back to the pool without any trace.
 * @module
 */
import { type TenantId } from "@argusiq/domain/ids.ts"
import { Context, Effect } from "effect"
import { type SqlError } from "effect/sql/SqlError"
import { CurrentActor } from "./CurrentActor.ts"
import { AppSql } from "./Sql.ts"

interface Seen {
  readonly tenantId: string
  readonly userId: string
}

/** What the surrounding transaction sees; undefined outside one. */
const CurrentSeen = Context.Reference<Seen | undefined>("argusiq/layers/database/inTenant/CurrentSeen", {
  defaultValue: () => undefined
})

/**
 * Runs the effect in one transaction that sees the tenant, and the memberships of the user. It commits when the effect
 * succeeds. Inside a transaction of the same tenant and user it is part of that one; for another it is a defect, since
 * what a transaction sees would stay changed after it.
 */
export const inTenant = (tenantId: TenantId, userId?: string) => seeing({ tenantId, userId: userId ?? "" })

/** Runs the effect in one transaction that sees no tenant, only the user's memberships: a login has no tenant yet. */
export const asUser = (userId: string) => seeing({ tenantId: "", userId })

const seeing =
  (seen: Seen) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E | SqlError, R | AppSql> =>
    Effect.gen(function* () {
      const outer = yield* CurrentSeen
      if (outer !== undefined) {
        if (outer.tenantId === seen.tenantId && outer.userId === seen.userId) return yield* effect
        return yield* Effect.die(new Error("A transaction sees one tenant: finish it before seeing another"))
      }
      const sql = yield* AppSql
      const actor = yield* CurrentActor
      return yield* sql.withTransaction(
        Effect.andThen(
          sql`select set_config('app.tenant_id', ${seen.tenantId}, true), set_config('app.user_id', ${seen.userId}, true),
            set_config('app.actor', ${actor === undefined ? "" : JSON.stringify(actor)}, true)`,
          Effect.provideService(effect, CurrentSeen, seen)
        )
      )
    })

/** {@link inTenant} for a service that holds the pool itself. */
export const inTenantOf =
  (sql: Context.Service.Shape<typeof AppSql>) =>
  ({ tenantId }: { readonly tenantId: TenantId }) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.provideService(inTenant(tenantId)(effect), AppSql, sql)
