/**
 * The users of an organization. What an administrator changes here is the membership: the account may belong to other
 * organizations, of which nothing shows.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import {
  type CreatedUser,
  type NewUser,
  type User,
  type UserChange,
  type UserQuery
} from "@argusiq/domain/http/users.ts"
import { type Authority, mayGrant, type Role } from "@argusiq/domain/permissions.ts"
import { Context, Effect, Layer, Redacted } from "effect"
import { inTenant, inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Actor } from "../registry/Devices.ts"
import { containing, type Page, readPage } from "../registry/paging.ts"
import {
  type BadCursor,
  NotAllowed,
  NotRegistered,
  NotValid,
  orRefusal,
  orUnavailable,
  refuseStale,
  type StaleVersion,
  type WriteRefusal,
  WrongState
} from "../registry/refusals.ts"
import { LiveSessions } from "./LiveSessions.ts"
import { accountOf, addMember, lockMember, refuseLastAdmin, selectMembers, toUser } from "./memberStatements.ts"
import { generatePassword, passwordFault, Passwords } from "./Passwords.ts"
import * as securityEvents from "./securityEvents.ts"
import { endAllSessions } from "./sessionStatements.ts"

/** Who acts, and what he may do himself: nobody grants more. */
export interface Administrator extends Actor, Authority {}

/** A password that somebody is told, once. `shown`: null when who asked has named it. */
interface Temporary {
  readonly hash: string
  readonly shown: string | null
}
type PasswordSet = { readonly temporaryPassword: string | null }

const refuseGrant = (actor: Administrator, role: Role) =>
  mayGrant(actor, role)
    ? Effect.void
    : Effect.fail(
        new NotAllowed({
          message: `The role ${role} may do more than your role ${actor.role}: nobody gives it, or takes it, without having it.`
        })
      )

export class Members extends Context.Service<
  Members,
  {
    list(actor: Actor, query: UserQuery): Effect.Effect<Page<User>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, userId: string): Effect.Effect<User, NotRegistered | DatabaseUnavailable>
    create(actor: Administrator, user: NewUser): Effect.Effect<CreatedUser, NotAllowed | NotValid | WriteRefusal>
    /** Takes effect at once, also on sessions that are open. `basedOn`: the version that must still be the present one. */
    change(
      actor: Administrator,
      userId: string,
      change: UserChange,
      basedOn?: number
    ): Effect.Effect<User, NotRegistered | StaleVersion | NotAllowed | WrongState | WriteRefusal>
    remove(
      actor: Administrator,
      userId: string,
      basedOn?: number
    ): Effect.Effect<void, NotRegistered | StaleVersion | NotAllowed | WrongState | DatabaseUnavailable>
    /** The password of the account where this organization is the only one it belongs to, else the one to join with. */
    setPassword(
      actor: Administrator,
      userId: string,
      password: Redacted.Redacted | undefined
    ): Effect.Effect<PasswordSet, NotRegistered | NotAllowed | NotValid | WrongState | DatabaseUnavailable>
    /** For {@link addMember}: fails where the password is none. Takes the same time for everybody. */
    temporary(password: Redacted.Redacted | undefined, email: string, path: string): Effect.Effect<Temporary, NotValid>
  }
>()("argusiq/layers/identity/Members") {
  static readonly layer = Layer.effect(
    Members,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const passwords = yield* Passwords
      const live = yield* LiveSessions
      const scoped = inTenantOf(sql)
      const scopedTo = ({ tenantId }: Actor, userId: string) => {
        const within = inTenant(tenantId, userId)
        return <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideService(within(effect), AppSql, sql)
      }

      const one = Effect.fnUntraced(function* (userId: string) {
        const [row] = yield* selectMembers(sql, sql`item.id = ${userId}::uuid`, sql.literal(""), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "user" })
        return toUser(row)
      })

      const list = Effect.fn("Members.list")((actor: Actor, query: UserQuery) => {
        const pattern = containing(query.q ?? "")
        const filters = [
          ...(query.role === undefined ? [] : [sql`item.role = ${query.role}`]),
          ...(query.q === undefined || query.q === ""
            ? []
            : [sql`(item.name ilike ${pattern} or item.email ilike ${pattern})`])
        ]
        type Clauses = Parameters<typeof selectMembers> extends [unknown, ...infer Rest] ? Rest : never
        const found = (...clauses: Clauses) => selectMembers(sql, ...clauses).pipe(scoped(actor), orUnavailable)
        return readPage(sql, query, filters, found, toUser)
      })

      const get = Effect.fn("Members.get")((actor: Actor, userId: string) =>
        one(userId).pipe(scoped(actor), orUnavailable)
      )

      const temporary = Effect.fn("Members.temporary")(function* (
        password: Redacted.Redacted | undefined,
        email: string,
        path: string
      ) {
        const fault = password === undefined ? undefined : passwordFault(Redacted.value(password), email)
        if (fault !== undefined) return yield* new NotValid({ faults: [{ path, message: fault }] })
        const generated = generatePassword()
        const hash = yield* passwords.hash(password ?? Redacted.make(generated))
        return { hash, shown: password === undefined ? generated : null }
      })

      const create = Effect.fn("Members.create")(function* (actor: Administrator, user: NewUser) {
        yield* refuseGrant(actor, user.role)
        const given = user.password === undefined ? undefined : Redacted.make(user.password)
        const { hash, shown } = yield* temporary(given, user.email, "password")
        const userId = yield* accountOf(sql, user.email, user.name)
        const { tenantId } = actor
        const created = yield* addMember(sql, { ...user, tenantId, userId, passwordHash: hash }).pipe(
          Effect.andThen(Effect.catchTag(one(userId), "NotRegistered", Effect.die)),
          scopedTo(actor, userId)
        )
        yield* securityEvents.userAdded(actor, userId, user.role)
        return { ...created, temporaryPassword: shown }
      }, orRefusal)

      const locked = Effect.fnUntraced(function* (actor: Administrator, userId: string) {
        const present = yield* lockMember(sql, actor.tenantId, userId)
        yield* refuseGrant(actor, present.role)
        return present
      })

      const change = Effect.fn("Members.change")(
        (actor: Administrator, userId: string, change: UserChange, basedOn?: number) =>
          Effect.gen(function* () {
            const present = yield* locked(actor, userId)
            yield* refuseStale(basedOn, present.version)
            if (change.role !== undefined) yield* refuseGrant(actor, change.role)
            const [role, status] = [change.role ?? present.role, change.status ?? present.status]
            if (present.is_external && role !== present.role) {
              return yield* new WrongState({
                message: "The identity provider gives this user's role: change it there."
              })
            }
            const wasAdmin = present.role === "admin" && present.status === "active"
            if (wasAdmin && (role !== "admin" || status !== "active")) yield* refuseLastAdmin(sql, userId)
            const values = { role, status, ...(change.name !== undefined && { name: change.name }) }
            yield* sql`update memberships set ${sql.update(values)}, version = version + 1, updated_at = now()
              where user_id = ${userId}::uuid and tenant_id = app_tenant()`
            return yield* one(userId)
          }).pipe(
            scoped(actor),
            Effect.tap(() => live.catchUp),
            Effect.tap(({ role, status }) => securityEvents.userChanged(actor, userId, role, status)),
            orRefusal
          )
      )

      const remove = Effect.fn("Members.remove")((actor: Administrator, userId: string, basedOn?: number) =>
        Effect.gen(function* () {
          const { role, status, version } = yield* locked(actor, userId)
          yield* refuseStale(basedOn, version)
          if (role === "admin" && status === "active") yield* refuseLastAdmin(sql, userId)
          yield* sql`delete from memberships where user_id = ${userId}::uuid and tenant_id = app_tenant()`
        }).pipe(
          scoped(actor),
          Effect.tap(() => live.catchUp),
          Effect.tap(() => securityEvents.userRemoved(actor, userId)),
          orUnavailable
        )
      )

      const setPassword = Effect.fn("Members.setPassword")(
        (actor: Administrator, userId: string, password: Redacted.Redacted | undefined) =>
          Effect.gen(function* () {
            if (userId === actor.userId) {
              return yield* new WrongState({ message: "Change your own password by PUT /api/v1/auth/password." })
            }
            const { email } = yield* get(actor, userId)
            const { hash, shown } = yield* temporary(password, email, "password")
            yield* replacePassword(actor, userId, hash).pipe(scopedTo(actor, userId))
            yield* live.catchUp
            yield* securityEvents.passwordSet(actor, userId)
            return { temporaryPassword: shown }
          }).pipe(orUnavailable)
      )
      const replacePassword = Effect.fnUntraced(function* (actor: Administrator, userId: string, hash: string) {
        const present = yield* locked(actor, userId)
        if (present.is_external) {
          return yield* new WrongState({
            message: "This user signs in through the identity provider and has no password."
          })
        }
        const invited = yield* sql`update invitations set password_hash = ${hash}
          where user_id = ${userId}::uuid and tenant_id = app_tenant() returning user_id`
        if (invited.length > 0) return
        const [account] = yield* sql<{ is_platform_admin: boolean }>`
          select is_platform_admin from users where id = ${userId}::uuid for no key update`
        const elsewhere = yield* sql`select from memberships member
          where user_id = ${userId}::uuid and tenant_id <> app_tenant() and not exists (select from invitations invitation
            where invitation.user_id = member.user_id and invitation.tenant_id = member.tenant_id) limit 1`
        // Whoever sets a password can sign in with it, wherever the account may.
        if (!actor.isPlatformAdmin && (account?.is_platform_admin === true || elsewhere.length > 0)) {
          return yield* new NotAllowed({
            message:
              "This account is not this organization's alone: its holder changes the password, or an administrator of the platform."
          })
        }
        yield* sql`update users set password_hash = ${hash}, password_is_temporary = true, updated_at = now(),
          version = version + 1 where id = ${userId}::uuid`
        yield* endAllSessions(sql, userId, "password set")
      })

      return Members.of({ list, get, create, change, remove, setPassword, temporary })
    })
  )
}
