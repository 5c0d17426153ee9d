/**
 * What sessions rest on, as statements.
 * @module
 */
import { type SessionInfo } from "@argusiq/domain/http/auth.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { type Role } from "@argusiq/domain/permissions.ts"
import { type PgClient } from "@effect/sql-pg"
import { Effect } from "effect"

export const refreshTokenDays = 30

type Sql = PgClient.PgClient

export interface Standing {
  readonly role: Role
  readonly is_platform_admin: boolean
  readonly password_is_temporary: boolean
}

/**
 * What a user may be in an organization that is signed in to with a password; no row: may not sign in. Locks what it rests on
 * until the transaction ends, so that a change of it comes before, and is seen here, or after, and finds the session.
 */
export const standingOf = (sql: Sql, userId: string, tenantId: TenantId) => sql<Standing>`
  select member.role, person.is_platform_admin, person.password_is_temporary
  from memberships member
  join users person on person.id = member.user_id
  join organizations organization on organization.id = member.tenant_id
  where member.user_id = ${userId}::uuid and member.tenant_id = ${tenantId}::uuid
    and member.status = 'active' and not member.is_external and person.status = 'active'
    and organization.status = 'active'
    and not exists (select from invitations invitation
      where invitation.user_id = member.user_id and invitation.tenant_id = member.tenant_id)
  for share of member, person, organization`

export const endAllSessions = (sql: Sql, userId: string, reason: string) =>
  sql`update sessions set ended_at = now(), end_reason = ${reason} where user_id = ${userId}::uuid and ended_at is null`

/** Those that have not ended, the last used first. */
export const listSessions = (sql: Sql, userId: string) =>
  sql<{
    id: string
    tenant_id: TenantId
    created_at: Date
    last_used_at: Date
    expires_at: Date
    address: string | null
    user_agent: string | null
  }>`select id, tenant_id, created_at, last_used_at, expires_at, address, user_agent from sessions
    where user_id = ${userId}::uuid and ended_at is null and expires_at > now()
    order by last_used_at desc, id limit 500`.pipe(
    Effect.map((rows) =>
      rows.map((row): Omit<SessionInfo, "isCurrent"> => ({
        id: row.id,
        organizationId: row.tenant_id,
        createdAt: row.created_at.toISOString(),
        lastUsedAt: row.last_used_at.toISOString(),
        expiresAt: row.expires_at.toISOString(),
        address: row.address,
        userAgent: row.user_agent
      }))
    )
  )
