/**
 * Accounts and where they belong.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { type Role } from "@argusiq/domain/permissions.ts"
import { Context, Effect, Layer } from "effect"
import { asUser, inTenant } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { orUnavailable } from "../registry/refusals.ts"

export interface User {
  readonly id: string
  readonly email: string
  readonly name: string
  readonly passwordHash: string | null
  readonly isActive: boolean
  readonly isPlatformAdmin: boolean
}
export interface Membership {
  readonly tenantId: TenantId
  readonly role: Role
  readonly isDefault: boolean
}

export class Users extends Context.Service<
  Users,
  {
    byEmail(email: string): Effect.Effect<User | undefined, DatabaseUnavailable>
    byId(id: string): Effect.Effect<User | undefined, DatabaseUnavailable>
    /** Those that a password opens, the default one first. */
    memberships(userId: string): Effect.Effect<ReadonlyArray<Membership>, DatabaseUnavailable>
    /** Organizations that the user has been added to and has not joined. */
    invitations(userId: string): Effect.Effect<ReadonlyArray<TenantId>, DatabaseUnavailable>
    /** Where the installation's first administrator belongs; undefined before the first start is done. */
    readonly firstOrganization: Effect.Effect<TenantId | undefined, DatabaseUnavailable>
    noteLogin(id: string, tenantId: TenantId): Effect.Effect<void, DatabaseUnavailable>
  }
>()("argusiq/layers/identity/Users") {
  static readonly layer = Layer.effect(
    Users,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const withSql = Effect.provideService(AppSql, sql)

      interface Row {
        readonly id: string
        readonly email: string
        readonly name: string
        readonly password_hash: string | null
        readonly status: "active" | "disabled"
        readonly is_platform_admin: boolean
      }
      const toUser = (row: Row | undefined): User | undefined =>
        row && {
          id: row.id,
          email: row.email,
          name: row.name,
          passwordHash: row.password_hash,
          isActive: row.status === "active",
          isPlatformAdmin: row.is_platform_admin
        }
      const columns = sql.literal("id, email, name, password_hash, status, is_platform_admin")

      const byEmail = Effect.fn("Users.byEmail")(function* (email: string) {
        const [row] = yield* sql<Row>`select ${columns} from users where lower(email) = lower(${email})`
        return toUser(row)
      }, orUnavailable)
      const byId = Effect.fn("Users.byId")(function* (id: string) {
        const [row] = yield* sql<Row>`select ${columns} from users where id = ${id}::uuid`
        return toUser(row)
      }, orUnavailable)

      const memberships = Effect.fn("Users.memberships")((userId: string) =>
        sql<{ tenant_id: TenantId; role: Role; is_default: boolean }>`
          select tenant_id, role, is_default from memberships member
          where user_id = ${userId}::uuid and status = 'active' and not is_external and not exists (
            select from invitations invitation
            where invitation.user_id = member.user_id and invitation.tenant_id = member.tenant_id)
          order by is_default desc, created_at, id`.pipe(
          asUser(userId),
          withSql,
          Effect.map((rows) =>
            rows.map((row): Membership => ({ tenantId: row.tenant_id, role: row.role, isDefault: row.is_default }))
          ),
          orUnavailable
        )
      )

      const invitations = Effect.fn("Users.invitations")((userId: string) =>
        sql<{ tenant_id: TenantId }>`
          select tenant_id from invitations where user_id = ${userId}::uuid order by created_at, tenant_id`.pipe(
          asUser(userId),
          withSql,
          Effect.map((rows) => rows.map(({ tenant_id }) => tenant_id)),
          orUnavailable
        )
      )

      const firstOrganization = Effect.gen(function* () {
        const [first] = yield* sql<{ id: string }>`
          select id from users where is_platform_admin order by created_at, id limit 1`
        if (first === undefined) return undefined
        const [membership] = yield* memberships(first.id)
        return membership?.tenantId
      }).pipe(orUnavailable)

      const noteLogin = Effect.fn("Users.noteLogin")(function* (id: string, tenantId: TenantId) {
        yield* sql`update users set last_login_at = now() where id = ${id}::uuid`
        yield* sql`update memberships set last_login_at = now()
          where user_id = ${id}::uuid and tenant_id = ${tenantId}::uuid`.pipe(inTenant(tenantId), withSql)
      }, orUnavailable)

      return Users.of({ byEmail, byId, memberships, invitations, firstOrganization, noteLogin })
    })
  )
}
