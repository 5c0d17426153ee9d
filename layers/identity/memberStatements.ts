/**
 * Accounts and memberships, as statements. Within a transaction that sees the organization and the memberships of the user.
 * @module
 */
import { randomUUID } from "node:crypto"
import { type User } from "@argusiq/domain/http/users.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { type Role } from "@argusiq/domain/permissions.ts"
import { type PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { newId } from "../registry/newId.ts"
import { AlreadyTaken, NotRegistered, WrongState } from "../registry/refusals.ts"

type Sql = PgClient.PgClient

export interface MemberRow {
  readonly id: string
  readonly tenant_id: TenantId
  readonly email: string
  readonly name: string
  readonly role: Role
  readonly status: "active" | "disabled"
  readonly is_external: boolean
  readonly last_login_at: Date | null
  readonly created_at: Date
  readonly updated_at: Date
  readonly version: number
  readonly sorted: string
}

export const toUser = (row: MemberRow): User => ({
  id: row.id,
  organizationId: row.tenant_id,
  email: row.email,
  name: row.name,
  role: row.role,
  status: row.status === "active" && row.last_login_at === null ? "invited" : row.status,
  isExternal: row.is_external,
  lastLoginAt: row.last_login_at?.toISOString() ?? null,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
  version: row.version
})

/** Nothing in it comes from the account but its id and address: whether that is older than the membership does not show. */
export const selectMembers = (sql: Sql, where: Fragment, rest: Fragment, sorted: Fragment) => sql<MemberRow>`
  select item.*, ${sorted} as sorted from (
    select person.id, member.tenant_id, lower(person.email) as email, coalesce(member.name, person.name) as name,
      member.role, case when person.status = 'active' then member.status else 'disabled' end as status,
      member.is_external, member.last_login_at, member.created_at, member.updated_at, member.version
    from memberships member join users person on person.id = member.user_id where member.tenant_id = app_tenant()
  ) item where ${where} ${rest}`

/** The account of an address, made without a password where there is none. Its id is random, so that it tells no age. */
export const accountOf = Effect.fnUntraced(function* (sql: Sql, email: string, name: string) {
  yield* sql`insert into users (id, email, name) values (${randomUUID()}::uuid, ${email.toLowerCase()}, ${name})
    on conflict do nothing`
  const [account] = yield* sql<{ id: string }>`select id from users where lower(email) = lower(${email})`
  return account?.id ?? (yield* Effect.die(new Error("An account that was just made is gone")))
})

export interface NewMember {
  readonly tenantId: TenantId
  readonly userId: string
  readonly name: string
  readonly role: Role
  readonly passwordHash: string
}

/**
 * Adds the account to the organization. The password becomes the account's where nobody can use that: it belongs nowhere.
 * Everybody else needs it to join.
 */
export const addMember = Effect.fnUntraced(function* (sql: Sql, member: NewMember) {
  const { name, passwordHash, role, tenantId, userId } = member
  const [account] = yield* sql<{ is_platform_admin: boolean }>`
    select is_platform_admin from users where id = ${userId}::uuid for no key update`
  const memberships = yield* sql<{ tenant_id: string; invited: boolean }>`
    select tenant_id, exists (select from invitations invitation
      where invitation.user_id = member.user_id and invitation.tenant_id = member.tenant_id) as invited
    from memberships member where user_id = ${userId}::uuid`
  if (memberships.some(({ tenant_id }) => tenant_id === tenantId)) return yield* new AlreadyTaken({ path: "email" })
  const isUnused = account?.is_platform_admin === false && memberships.every(({ invited }) => invited)
  yield* sql`insert into memberships (id, tenant_id, user_id, name, role, is_default)
    values (${newId()}::uuid, ${tenantId}::uuid, ${userId}::uuid, ${name}, ${role}, ${isUnused})`
  if (isUnused) {
    yield* sql`update users set name = ${name}, password_hash = ${passwordHash}, password_is_temporary = true,
      updated_at = now(), version = version + 1 where id = ${userId}::uuid`
  } else {
    yield* sql`insert into invitations (tenant_id, user_id, password_hash)
      values (${tenantId}::uuid, ${userId}::uuid, ${passwordHash})`
  }
})

/** Locks the membership. Changes in one organization wait for one another: of two administrators each would count the other. */
export const lockMember = Effect.fnUntraced(function* (sql: Sql, tenantId: TenantId, userId: string) {
  yield* sql`select pg_advisory_xact_lock(hashtextextended(${`members of ${tenantId}`}, 0))`
  const [present] = yield* sql<{
    role: Role
    status: "active" | "disabled"
    is_external: boolean
    version: number
  }>`select role, status, is_external, version from memberships
    where user_id = ${userId}::uuid and tenant_id = app_tenant() for no key update`
  return present ?? (yield* new NotRegistered({ what: "user" }))
})

/** Whoever could sign in with a password and put things right again. */
export const refuseLastAdmin = Effect.fnUntraced(function* (sql: Sql, userId: string) {
  const others = yield* sql`select from memberships member join users person on person.id = member.user_id
    where member.tenant_id = app_tenant() and member.role = 'admin' and member.status = 'active'
      and not member.is_external and person.status = 'active' and member.user_id <> ${userId}::uuid
      and not exists (select from invitations invitation
        where invitation.user_id = member.user_id and invitation.tenant_id = member.tenant_id) limit 1`
  if (others.length > 0) return
  return yield* new WrongState({
    message: "This is the last administrator of the organization. Make somebody else one first."
  })
})
