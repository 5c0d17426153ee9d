/**
 * Those for whom an identity provider vouches, as members of an organization. The provider gives the role; the organization
 * may disable the member. Such a membership is opened by the provider's tokens only, never by a password: an account that
 * somebody else made with the same address is worth nothing in it.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { ExternalRefused } from "@argusiq/domain/external-identity.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { isUuid } from "@argusiq/domain/uuid.ts"
import { type Role } from "@argusiq/domain/permissions.ts"
import { Clock, Context, Effect, Layer } from "effect"
import { BoundedMap } from "../cache/BoundedMap.ts"
import { inTenant } from "../database/inTenant.ts"
import { AppSql, PipelineSql } from "../database/Sql.ts"
import { newId } from "../registry/newId.ts"
import { orUnavailable } from "../registry/refusals.ts"
import { ExternalTokens, providerConfig, type ProviderUnavailable, type VerifiedToken } from "./ExternalTokens.ts"
import { accountOf } from "./memberStatements.ts"
import * as securityEvents from "./securityEvents.ts"

/** What is known of a bearer is looked at again after so long: a disabled one is out within that. */
const LOOK_AGAIN_MILLIS = 1_000

export interface ExternalUser {
  readonly userId: string
  readonly tenantId: TenantId
  readonly role: Role
}

type Refused = ExternalRefused | ProviderUnavailable | DatabaseUnavailable

const refused = (message: string) => new ExternalRefused({ message })

export class ExternalUsers extends Context.Service<
  ExternalUsers,
  {
    /**
     * Undefined for what is no token of the provider in force. A user who comes for the first time is made, or found by a verified
     * address. While PostgreSQL is away, who was let in before goes on until the token expires.
     */
    identify(token: string): Effect.Effect<ExternalUser | undefined, Refused>
  }
>()("argusiq/layers/identity/ExternalUsers") {
  static readonly layerConfig = Layer.unwrap(
    Effect.map(providerConfig, (provider) => ExternalUsers.layer(provider?.organizationId))
  )
  /** `organizationId`: of everybody, where the tokens do not name one. */
  static readonly layer = (organizationId: string | undefined) =>
    Layer.effect(
      ExternalUsers,
      Effect.gen(function* () {
        const tokens = yield* ExternalTokens
        const sql = yield* AppSql
        const everywhere = yield* PipelineSql
        const known = new BoundedMap<{ readonly user: ExternalUser; readonly lookedAtMillis: number }>(10_000)

        const organizationOf = Effect.fnUntraced(function* (named: string | undefined) {
          if (named === undefined) return yield* refused("Your token names no organization.")
          const [found] = yield* everywhere<{ id: TenantId; status: string }>`
            select id, status from organizations
            where ${isUuid(named) ? everywhere`id = ${named.toLowerCase()}::uuid` : everywhere`slug = ${named}`}`
          if (found?.status === "active") return found.id
          return yield* refused("The organization that your token names does not exist here, or is suspended.")
        })

        const accountBehind = Effect.fnUntraced(function* ({ email, issuer, name, subject }: VerifiedToken) {
          const identity = sql<{ user_id: string }>`
            select user_id from external_identities where issuer = ${issuer} and subject = ${subject}`
          const [before] = yield* identity
          if (before !== undefined) return before.user_id
          if (email === undefined) {
            return yield* refused(
              "The identity provider does not vouch for your e-mail address (claims email and email_verified): nobody can be found or added by it."
            )
          }
          const userId = yield* accountOf(sql, email, name)
          yield* sql`insert into external_identities (issuer, subject, user_id)
            values (${issuer}, ${subject}, ${userId}::uuid) on conflict do nothing`
          const [after] = yield* identity // of two at once the first counts
          return after?.user_id ?? userId
        })

        const memberOf = Effect.fnUntraced(function* (tenantId: TenantId, userId: string, token: VerifiedToken) {
          const { issuer, name, role } = token
          const made = yield* sql`
            insert into memberships (id, tenant_id, user_id, name, role, is_external, last_login_at)
            select ${newId()}::uuid, ${tenantId}::uuid, ${userId}::uuid, ${name}, ${role}, true, now()
            where not exists (select from memberships where user_id = ${userId}::uuid and tenant_id = ${tenantId}::uuid)
            on conflict do nothing returning id`
          if (made.length > 0) yield* securityEvents.externalUserMade(userId, tenantId, issuer)
          const [member] = yield* sql<{ role: Role; is_external: boolean; is_active: boolean }>`
            select member.role, member.is_external, member.status = 'active' and person.status = 'active' as is_active
            from memberships member join users person on person.id = member.user_id
            where member.user_id = ${userId}::uuid and member.tenant_id = ${tenantId}::uuid`
          if (member?.is_active !== true) return yield* refused("Your user is disabled in this organization.")
          if (member.is_external && member.role !== role) {
            yield* sql`update memberships set role = ${role}, updated_at = now(), version = version + 1
              where user_id = ${userId}::uuid and tenant_id = ${tenantId}::uuid`
          }
        })

        const look = Effect.fnUntraced(function* (token: VerifiedToken) {
          const tenantId = yield* organizationOf(token.organization ?? organizationId)
          const userId = yield* accountBehind(token)
          const within = inTenant(tenantId, userId)
          yield* Effect.provideService(within(memberOf(tenantId, userId, token)), AppSql, sql)
          return { userId, tenantId, role: token.role }
        }, orUnavailable)

        const identify = Effect.fn("ExternalUsers.identify")(function* (token: string) {
          const verified = yield* tokens.verify(token)
          if (verified === undefined) return undefined
          const before = known.get(token)
          const nowMillis = yield* Clock.currentTimeMillis
          if (before !== undefined && nowMillis - before.lookedAtMillis < LOOK_AGAIN_MILLIS) return before.user
          const user = yield* look(verified).pipe(
            Effect.catchTag("DatabaseUnavailable", (error) =>
              before === undefined ? Effect.fail(error) : Effect.succeed(before.user)
            ),
            Effect.tapError(() => Effect.sync(() => known.delete(token)))
          )
          known.set(token, { user, lookedAtMillis: nowMillis })
          return user
        })
        return ExternalUsers.of({ identify })
      })
    )
}
