/**
 * Sessions: a short-lived access token and a refresh token that works once. A refresh token used twice was copied by
 * somebody, so its whole session ends.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type Session, type SessionInfo } from "@argusiq/domain/http/auth.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { Cause, Clock, Context, Effect, Exit, Layer, Option, Redacted, Schema } from "effect"
import { AppSql } from "../database/Sql.ts"
import { NotRegistered, NotValid, orUnavailable } from "../registry/refusals.ts"
import { AccessTokens } from "./AccessTokens.ts"
import { LiveSessions } from "./LiveSessions.ts"
import { LoginAttempts } from "./LoginAttempts.ts"
import { type Client, digestOf, makeOpening, seeingMember, seeingUser, SignInRefused } from "./openSession.ts"
import { passwordFault, Passwords } from "./Passwords.ts"
import * as securityEvents from "./securityEvents.ts"
import { endAllSessions, listSessions, refreshTokenDays, standingOf } from "./sessionStatements.ts"
import { type User, Users } from "./Users.ts"

export class TooManyAttempts extends Schema.TaggedError<TooManyAttempts>()("TooManyAttempts", {
  secondsToWait: Schema.Int
}) {}

export interface Credentials {
  readonly email: string
  readonly password: Redacted.Redacted
  readonly organizationId: TenantId | undefined
}
/** A password that the user of a session presents again. */
export interface Confirmation {
  readonly userId: string
  readonly tenantId: TenantId
  readonly password: Redacted.Redacted
}

type Attempt<A> = Effect.Effect<A, SignInRefused | TooManyAttempts | DatabaseUnavailable>

const isRefused = (exit: Exit.Exit<unknown, unknown>) => {
  const error: unknown = Exit.isFailure(exit) ? Option.getOrUndefined(Cause.findErrorOption(exit.cause)) : undefined
  return error instanceof SignInRefused
}

export class Sessions extends Context.Service<
  Sessions,
  {
    login(credentials: Credentials, client: Client): Attempt<Session>
    refresh(refreshToken: string): Effect.Effect<Session, SignInRefused | DatabaseUnavailable>
    /** Ends the whole session; an unknown token ends nothing. */
    logout(refreshToken: string): Effect.Effect<void, DatabaseUnavailable>
    /** A new session of the same user in another organization. */
    switch(
      userId: string,
      tenantId: TenantId,
      client: Client
    ): Effect.Effect<Session, SignInRefused | DatabaseUnavailable>
    /** Accepts the invitation of `tenantId`; `password` is the one that its administrator gave. */
    join(confirmation: Confirmation, client: Client): Attempt<Session>
    /** Ends all sessions of the user and begins one in `tenantId`. `password` is the present one. */
    changePassword(
      confirmation: Confirmation,
      newPassword: Redacted.Redacted,
      client: Client
    ): Effect.Effect<Session, NotValid | SignInRefused | TooManyAttempts | DatabaseUnavailable>
    /** Those that have not ended, the last used first. */
    list(userId: string): Effect.Effect<ReadonlyArray<Omit<SessionInfo, "isCurrent">>, DatabaseUnavailable>
    /** One of the user's own. */
    end(userId: string, sessionId: string): Effect.Effect<void, NotRegistered | DatabaseUnavailable>
  }
>()("argusiq/layers/identity/Sessions") {
  static readonly layer = Layer.effect(
    Sessions,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const users = yield* Users
      const passwords = yield* Passwords
      const tokens = yield* AccessTokens
      const live = yield* LiveSessions
      const attempts = new LoginAttempts()
      const { begin, give } = makeOpening(sql, tokens, users)

      /** Only an attempt that was refused counts, not one that the database could not judge. */
      const limited = <A, E, R>(
        account: string,
        userId: string | undefined,
        address: string,
        attempt: Effect.Effect<A, E, R>
      ) =>
        Effect.gen(function* () {
          const secondsToWait = attempts.begin(account, address, yield* Clock.currentTimeMillis)
          if (secondsToWait !== undefined) {
            yield* securityEvents.signInsLimited(account, userId, address)
            return yield* new TooManyAttempts({ secondsToWait })
          }
          return yield* Effect.onExit(attempt, (exit) =>
            Effect.sync(() => {
              if (!isRefused(exit)) attempts.withdraw(account, address)
            })
          )
        })

      const login = Effect.fn("Sessions.login")((credentials: Credentials, client: Client) =>
        limited(credentials.email, undefined, client.address, orUnavailable(signIn(credentials, client)))
      )
      const signIn = Effect.fnUntraced(function* ({ email, organizationId, password }: Credentials, client: Client) {
        const user = yield* users.byEmail(email)
        const isRight = yield* passwords.verify(password, user?.passwordHash)
        const tenantId = isRight && user?.isActive === true ? yield* homeOf(user, organizationId) : undefined
        if (user === undefined || tenantId === undefined) {
          yield* securityEvents.signInRefused(email, user?.id, client.address)
          return yield* new SignInRefused()
        }
        const session = yield* begin(user.id, tenantId, client)
        yield* securityEvents.signInSucceeded(user.email, user.id)
        return session
      })
      const homeOf = (user: User, asked: TenantId | undefined) =>
        Effect.map(users.memberships(user.id), (memberships) => {
          const membership =
            asked === undefined ? memberships[0] : memberships.find(({ tenantId }) => tenantId === asked)
          return membership?.tenantId
        })

      const refresh = Effect.fn("Sessions.refresh")(function* (refreshToken: string) {
        const digest = digestOf(refreshToken)
        const [known] = yield* sql<{ family: string; user_id: string; tenant_id: TenantId }>`
          select family, user_id, tenant_id from refresh_tokens where token_hash = ${digest}`
        if (known === undefined) return yield* new SignInRefused()
        const { family, tenant_id: tenantId, user_id: userId } = known
        const outcome = yield* Effect.gen(function* () {
          const [standing] = yield* standingOf(sql, userId, tenantId)
          // Of two that present the same token at once, one finds it unused; the other ends the session, also for the
          // token that the first is about to get.
          const used = yield* sql`update refresh_tokens set used_at = now()
            where token_hash = ${digest} and used_at is null and expires_at > now() returning id`
          if (used.length === 0) {
            const reused = yield* sql`select from refresh_tokens where token_hash = ${digest} and used_at is not null`
            if (reused.length === 0) return "expired"
            yield* sql`update sessions set ended_at = now(), end_reason = 'refresh token used twice'
              where id = ${family}::uuid and ended_at is null`
            return "reused"
          }
          const [session] = yield* sql<{ generation: number }>`
            update sessions set last_used_at = now(), expires_at = now() + make_interval(days => ${refreshTokenDays})
            where id = ${family}::uuid and ended_at is null returning generation`
          if (session === undefined || standing === undefined) return "ended"
          return yield* give(standing, { userId, tenantId, sessionId: family, generation: session.generation })
        }).pipe(seeingMember(sql, tenantId, userId))
        if (outcome === "reused") {
          yield* live.catchUp
          yield* securityEvents.refreshTokenReused(userId, tenantId, family)
        }
        if (typeof outcome !== "object") return yield* new SignInRefused()
        return outcome
      }, orUnavailable)

      const endOne = Effect.fnUntraced(function* (userId: string, sessionId: string, reason: string) {
        const [ended] = yield* sql<{ tenant_id: string }>`update sessions set ended_at = now(), end_reason = ${reason}
          where id = ${sessionId}::uuid and user_id = ${userId}::uuid and ended_at is null returning tenant_id`.pipe(
          seeingUser(sql, userId)
        )
        if (ended === undefined) return false
        yield* live.catchUp
        yield* securityEvents.sessionEnded(userId, ended.tenant_id, sessionId)
        return true
      })

      const logout = Effect.fn("Sessions.logout")(function* (refreshToken: string) {
        const [known] = yield* sql<{ family: string; user_id: string }>`
          select family, user_id from refresh_tokens where token_hash = ${digestOf(refreshToken)}`
        if (known !== undefined) yield* endOne(known.user_id, known.family, "signed out")
      }, orUnavailable)

      const end = Effect.fn("Sessions.end")(function* (userId: string, sessionId: string) {
        if (!(yield* endOne(userId, sessionId, "ended by its user")))
          return yield* new NotRegistered({ what: "session" })
      }, orUnavailable)

      const switchTo = Effect.fn("Sessions.switch")(begin, orUnavailable)

      const join = Effect.fn("Sessions.join")(({ password, tenantId, userId }: Confirmation, client: Client) =>
        Effect.gen(function* () {
          const [invitation] = yield* sql<{ password_hash: string }>`
            select password_hash from invitations where user_id = ${userId}::uuid and tenant_id = ${tenantId}::uuid`.pipe(
            seeingUser(sql, userId)
          )
          if (!(yield* passwords.verify(password, invitation?.password_hash))) return yield* new SignInRefused()
          yield* sql`delete from invitations where user_id = ${userId}::uuid and tenant_id = ${tenantId}::uuid`.pipe(
            seeingMember(sql, tenantId, userId)
          )
          yield* securityEvents.invitationAccepted(userId, tenantId)
          return yield* begin(userId, tenantId, client)
        }).pipe(orUnavailable, (attempt) => limited(`invitation of ${userId}`, userId, client.address, attempt))
      )

      const changePassword = Effect.fn("Sessions.changePassword")(
        ({ password, tenantId, userId }: Confirmation, newPassword: Redacted.Redacted, client: Client) =>
          Effect.gen(function* () {
            const user = yield* users.byId(userId)
            if (user === undefined || !(yield* passwords.verify(password, user.passwordHash))) {
              return yield* new SignInRefused()
            }
            const fault =
              Redacted.value(newPassword) === Redacted.value(password)
                ? "must not be the present one"
                : passwordFault(Redacted.value(newPassword), user.email)
            if (fault !== undefined) {
              return yield* new NotValid({ faults: [{ path: "newPassword", message: fault }] })
            }
            const passwordHash = yield* passwords.hash(newPassword)
            // The old hash is part of the condition: of two changes from the same password one counts.
            const changed = yield* sql`update users set password_hash = ${passwordHash}, password_is_temporary = false,
                updated_at = now(), version = version + 1
              where id = ${userId}::uuid and password_hash = ${user.passwordHash} returning id`.pipe(
              Effect.tap((rows) =>
                Effect.when(endAllSessions(sql, userId, "password changed"), Effect.succeed(rows.length > 0))
              ),
              seeingUser(sql, userId)
            )
            if (changed.length === 0) return yield* new SignInRefused()
            yield* live.catchUp
            yield* securityEvents.passwordChanged(userId)
            return yield* begin(userId, tenantId, client)
          }).pipe(orUnavailable, (attempt) => limited(`password of ${userId}`, userId, client.address, attempt))
      )

      const list = Effect.fn("Sessions.list")((userId: string) =>
        listSessions(sql, userId).pipe(seeingUser(sql, userId), orUnavailable)
      )
      return Sessions.of({ login, refresh, logout, switch: switchTo, join, changePassword, list, end })
    })
  )
}
