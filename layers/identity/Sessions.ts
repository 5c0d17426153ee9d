/**
 * Sessions: a short-lived access token and a refresh token that works once. A refresh token used twice was copied by
 * somebody, so its whole family ends.
 * @module
 */
import { hash, randomBytes, randomUUID } from "node:crypto"
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type Session } from "@argusiq/domain/http/auth.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { Cause, Clock, Context, Effect, Exit, Layer, Option, type Redacted, Schema } from "effect"
import { AppSql } from "../database/Sql.ts"
import { newId } from "../registry/newId.ts"
import { orUnavailable } from "../registry/refusals.ts"
import { AccessTokens, accessTokenSeconds } from "./AccessTokens.ts"
import { LoginAttempts } from "./LoginAttempts.ts"
import { Passwords } from "./Passwords.ts"
import { type User, Users } from "./Users.ts"

export const refreshTokenDays = 30

/** Not signed in, whatever the reason: nobody learns which of e-mail, password, organization or token was wrong. */
export class SignInRefused extends Schema.TaggedError<SignInRefused>()("SignInRefused", {}) {}
export class TooManyAttempts extends Schema.TaggedError<TooManyAttempts>()("TooManyAttempts", {
  secondsToWait: Schema.Int
}) {}

export interface Credentials {
  readonly email: string
  readonly password: Redacted.Redacted
  readonly organizationId: TenantId | undefined
  /** Of the client, for the limit on attempts. */
  readonly address: string
}

const isRefused = (exit: Exit.Exit<Session, SignInRefused | DatabaseUnavailable>) =>
  Exit.isFailure(exit) && Option.getOrUndefined(Cause.findErrorOption(exit.cause))?._tag === "SignInRefused"

const digestOf = (token: string) => hash("sha256", token, "buffer")

export class Sessions extends Context.Service<
  Sessions,
  {
    login(credentials: Credentials): Effect.Effect<Session, SignInRefused | TooManyAttempts | DatabaseUnavailable>
    refresh(refreshToken: string): Effect.Effect<Session, SignInRefused | DatabaseUnavailable>
    /** Ends the whole session; an unknown token ends nothing. */
    logout(refreshToken: string): Effect.Effect<void, DatabaseUnavailable>
    /** A new session of the same user in another organization. */
    switch(userId: string, tenantId: TenantId): Effect.Effect<Session, SignInRefused | DatabaseUnavailable>
  }
>()("argusiq/layers/identity/Sessions") {
  static readonly layer = Layer.effect(
    Sessions,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const users = yield* Users
      const passwords = yield* Passwords
      const tokens = yield* AccessTokens
      const attempts = new LoginAttempts()

      /** Both tokens, for the membership as it is at this moment. */
      const open = Effect.fnUntraced(function* (user: User, tenantId: TenantId | undefined, family: string) {
        const memberships = user.isActive ? yield* users.memberships(user.id) : []
        const membership =
          tenantId === undefined ? memberships[0] : memberships.find((membership) => membership.tenantId === tenantId)
        if (membership === undefined) return yield* new SignInRefused()
        const organization = yield* users.organization(membership.tenantId)
        if (organization?.status !== "active") return yield* new SignInRefused()
        const refreshToken = randomBytes(32).toString("base64url")
        yield* sql`insert into refresh_tokens (id, user_id, tenant_id, family, token_hash, expires_at)
          values (${newId()}::uuid, ${user.id}::uuid, ${membership.tenantId}::uuid, ${family}::uuid,
            ${digestOf(refreshToken)}, now() + make_interval(days => ${refreshTokenDays}))`
        const accessToken = yield* tokens.issue({
          sub: user.id,
          org: membership.tenantId,
          role: membership.role,
          admin: user.isPlatformAdmin
        })
        return { accessToken, refreshToken, expiresIn: accessTokenSeconds }
      })

      const login = Effect.fn("Sessions.login")(function* (credentials: Credentials) {
        const { address, email } = credentials
        const secondsToWait = attempts.begin(email, address, yield* Clock.currentTimeMillis)
        if (secondsToWait !== undefined) return yield* new TooManyAttempts({ secondsToWait })
        return yield* signIn(credentials).pipe(
          orUnavailable,
          // Only an attempt that was refused counts, not one that the database could not judge.
          Effect.onExit((exit) =>
            Effect.sync(() => {
              if (!isRefused(exit)) attempts.withdraw(email, address)
            })
          )
        )
      })

      const signIn = Effect.fnUntraced(function* ({ email, organizationId, password }: Credentials) {
        const user = yield* users.byEmail(email)
        const isRight = yield* passwords.verify(password, user?.passwordHash)
        if (!isRight || user === undefined) return yield* new SignInRefused()
        const session = yield* open(user, organizationId, randomUUID())
        yield* users.noteLogin(user.id)
        return session
      })

      const endFamily = (family: string) =>
        sql`update refresh_tokens set revoked_at = now() where family = ${family}::uuid and revoked_at is null`

      const refresh = Effect.fn("Sessions.refresh")(function* (refreshToken: string) {
        const digest = digestOf(refreshToken)
        // Of two that present the same token at once, one finds it unused; the other ends the family, also for the token
        // that the first is about to get.
        const [token] = yield* sql<{ user_id: string; tenant_id: TenantId; family: string }>`
          update refresh_tokens token set used_at = now()
          where token_hash = ${digest} and used_at is null and expires_at > now() and not exists (
            select 1 from refresh_tokens relative where relative.family = token.family and relative.revoked_at is not null)
          returning user_id, tenant_id, family`
        if (token === undefined) {
          const [known] = yield* sql<{ family: string; user_id: string; used: boolean }>`
            select family, user_id, used_at is not null as used from refresh_tokens where token_hash = ${digest}`
          if (known?.used === true) {
            yield* endFamily(known.family)
            yield* Effect.logWarning("A refresh token was used twice: its session is ended").pipe(
              Effect.annotateLogs({ userId: known.user_id })
            )
          }
          return yield* new SignInRefused()
        }
        const user = yield* users.byId(token.user_id)
        if (user === undefined) return yield* new SignInRefused()
        return yield* open(user, token.tenant_id, token.family)
      }, orUnavailable)

      const logout = Effect.fn("Sessions.logout")(function* (refreshToken: string) {
        const [known] = yield* sql<{ family: string }>`
          select family from refresh_tokens where token_hash = ${digestOf(refreshToken)}`
        if (known !== undefined) yield* endFamily(known.family)
      }, orUnavailable)

      const switchTo = Effect.fn("Sessions.switch")(function* (userId: string, tenantId: TenantId) {
        const user = yield* users.byId(userId)
        if (user === undefined) return yield* new SignInRefused()
        return yield* open(user, tenantId, randomUUID())
      }, orUnavailable)

      return Sessions.of({ login, refresh, logout, switch: switchTo })
    })
  )
}
