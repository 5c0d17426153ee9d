/**
 * Users and where they belong.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type Organization } from "@argusiq/domain/http/organization.ts"
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
    /** The default one first. */
    memberships(userId: string): Effect.Effect<ReadonlyArray<Membership>, DatabaseUnavailable>
    organization(tenantId: TenantId): Effect.Effect<Organization | undefined, DatabaseUnavailable>
    /** Where the installation's first administrator belongs; undefined before the first start is done. */
    readonly firstOrganization: Effect.Effect<TenantId | undefined, DatabaseUnavailable>
    noteLogin(id: string): Effect.Effect<void, DatabaseUnavailable>
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
          select tenant_id, role, is_default from memberships where user_id = ${userId}::uuid
          order by is_default desc, created_at, id`.pipe(
          asUser(userId),
          withSql,
          Effect.map((rows) =>
            rows.map((row): Membership => ({ tenantId: row.tenant_id, role: row.role, isDefault: row.is_default }))
          ),
          orUnavailable
        )
      )

      const organization = Effect.fn("Users.organization")((tenantId: TenantId) =>
        sql<{
          id: TenantId
          name: string
          slug: string
          status: Organization["status"]
          created_at: Date
          version: number
        }>`select id, name, slug, status, created_at, version from organizations where id = ${tenantId}::uuid`.pipe(
          inTenant(tenantId),
          withSql,
          Effect.map(
            ([row]): Organization | undefined =>
              row && {
                id: row.id,
                name: row.name,
                slug: row.slug,
                status: row.status,
                createdAt: row.created_at.toISOString(),
                version: row.version
              }
          ),
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

      const noteLogin = Effect.fn("Users.noteLogin")(function* (id: string) {
        yield* sql`update users set last_login_at = now() where id = ${id}::uuid`
      }, orUnavailable)

      return Users.of({ byEmail, byId, memberships, organization, firstOrganization, noteLogin })
    })
  )
}
