/**
 * How a session begins and goes on: under locks that a change of user, membership or organization waits for.
 * @module
 */
import { hash, randomBytes, randomUUID } from "node:crypto"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { type PgClient } from "@effect/sql-pg"
import { Effect, Schema } from "effect"
import { asUser, inTenant } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { newId } from "../registry/newId.ts"
import { type AccessTokens, accessTokenSeconds } from "./AccessTokens.ts"
import * as securityEvents from "./securityEvents.ts"
import { refreshTokenDays, type Standing, standingOf } from "./sessionStatements.ts"
import { type Users } from "./Users.ts"

/** Not signed in, whatever the reason: nobody learns which of e-mail, password, organization or token was wrong. */
export class SignInRefused extends Schema.TaggedError<SignInRefused>()("SignInRefused", {}) {}

/** From where somebody signs in. */
export interface Client {
  readonly address: string
  readonly userAgent: string | undefined
}

/** What is stored of a refresh token. */
export const digestOf = (token: string) => hash("sha256", token, "buffer")

const shortened = (text: string | undefined) => text?.replaceAll(/\p{Cc}|\p{Cs}/gu, "").slice(0, 300) ?? null

/** Whoever is looked at: memberships and sessions of this user, in a transaction. */
export const seeingUser = (sql: PgClient.PgClient, userId: string) => {
  const within = asUser(userId)
  return <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideService(within(effect), AppSql, sql)
}
export const seeingMember = (sql: PgClient.PgClient, tenantId: TenantId, userId: string) => {
  const within = inTenant(tenantId, userId)
  return <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.provideService(within(effect), AppSql, sql)
}

/** What a session's tokens are made of. */
interface Opened {
  readonly userId: string
  readonly tenantId: TenantId
  readonly sessionId: string
  readonly generation: number
}

export const makeOpening = (
  sql: PgClient.PgClient,
  tokens: (typeof AccessTokens)["Service"],
  users: (typeof Users)["Service"]
) => {
  /** Both tokens, for a session that exists. */
  const give = Effect.fnUntraced(function* (standing: Standing, { generation, sessionId, tenantId, userId }: Opened) {
    const refreshToken = randomBytes(32).toString("base64url")
    yield* sql`insert into refresh_tokens (id, user_id, tenant_id, family, token_hash, expires_at)
      values (${newId()}::uuid, ${userId}::uuid, ${tenantId}::uuid, ${sessionId}::uuid, ${digestOf(refreshToken)},
        now() + make_interval(days => ${refreshTokenDays}))`
    const accessToken = yield* tokens.issue({
      sub: userId,
      org: tenantId,
      role: standing.role,
      admin: standing.is_platform_admin,
      sid: sessionId,
      gen: generation,
      ...(standing.password_is_temporary && { tmp: true })
    })
    return { accessToken, refreshToken, expiresIn: accessTokenSeconds }
  })

  const begin = Effect.fnUntraced(function* (userId: string, tenantId: TenantId, client: Client) {
    const sessionId = randomUUID()
    const session = yield* Effect.gen(function* () {
      // Its locks first: what changes the standing afterwards finds the session and ends it.
      const [standing] = yield* standingOf(sql, userId, tenantId)
      if (standing === undefined) return undefined
      yield* sql`insert into sessions (id, user_id, tenant_id, address, user_agent, expires_at)
        values (${sessionId}::uuid, ${userId}::uuid, ${tenantId}::uuid, ${client.address},
          ${shortened(client.userAgent)}, now() + make_interval(days => ${refreshTokenDays}))`
      return yield* give(standing, { userId, tenantId, sessionId, generation: 0 })
    }).pipe(seeingMember(sql, tenantId, userId))
    if (session === undefined) return yield* new SignInRefused()
    yield* users.noteLogin(userId, tenantId)
    yield* securityEvents.signedIn(userId, tenantId, sessionId, client.address)
    return session
  })
  return { give, begin }
}
