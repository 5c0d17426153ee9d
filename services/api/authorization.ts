/**
 * Who calls, and whether they may: the one place where a token becomes a caller and a permission is checked.
 * @module
 */
import { Forbidden, Unauthenticated, Unavailable } from "@argusiq/domain/http/problems.ts"
import { Authorization, type Caller, Principal } from "@argusiq/domain/http/security.ts"
import { TenantId } from "@argusiq/domain/ids.ts"
import { isAllowed, RequiredPermission } from "@argusiq/domain/permissions.ts"
import { noteSecurity } from "@argusiq/layers/audit/SecurityLog.ts"
import { CurrentActor } from "@argusiq/layers/database/CurrentActor.ts"
import { AccessTokens } from "@argusiq/layers/identity/AccessTokens.ts"
import { CommandLineToken } from "@argusiq/layers/identity/CommandLineToken.ts"
import { ExternalTokens } from "@argusiq/layers/identity/ExternalTokens.ts"
import { ExternalUsers } from "@argusiq/layers/identity/ExternalUsers.ts"
import { LiveSessions } from "@argusiq/layers/identity/LiveSessions.ts"
import { Users } from "@argusiq/layers/identity/Users.ts"
import { makeOutage } from "@argusiq/layers/outage.ts"
import { Cause, Context, Effect, Layer, Option, Redacted, Schema } from "effect"
import { HttpServerRequest } from "effect/http"

/** With which the command line says for which organization it acts; the first one when absent. */
const organizationHeader = "x-organization-id"
const nowhere = TenantId.make("00000000-0000-0000-0000-000000000000")

const isTenantId = Schema.is(TenantId)

const unknownCaller = new Unauthenticated({
  detail:
    "Send the header Authorization: Bearer with the accessToken from POST /api/v1/auth/login. It lasts 15 minutes."
})
const calledBack = new Unauthenticated({
  detail:
    "The session has ended, or what you may do has changed: refresh by POST /api/v1/auth/refresh, or sign in again."
})
const temporaryPassword = new Forbidden({
  detail: "Your password is a temporary one. Change it by PUT /api/v1/auth/password first."
})

/** The caller behind a bearer token. A user's own is looked up in memory, so that it may be asked as often as one likes. */
export class Callers extends Context.Service<
  Callers,
  {
    /** Undefined when the token is none of ours, has expired, or its session has ended: at once where that happened here, within
     * half a second where it happened in another process. Likewise when the identity provider's bearer may not come in. */
    identify(token: string): Effect.Effect<Caller | undefined>
    /** The same with the reason. */
    authenticate(token: string): Effect.Effect<Caller, Unauthenticated | Forbidden | Unavailable>
  }
>()("argusiq/services/api/Callers") {
  static readonly layer = Layer.effect(
    Callers,
    Effect.gen(function* () {
      const tokens = yield* AccessTokens
      const live = yield* LiveSessions
      const external = yield* ExternalUsers
      const commandLine = yield* CommandLineToken
      const users = yield* Users
      const providerOutage = makeOutage("The identity provider does not answer as it should; its users are not let in")
      let first: TenantId | undefined

      const commandLineTenant = Effect.gen(function* () {
        const request = Option.getOrUndefined(yield* Effect.serviceOption(HttpServerRequest.HttpServerRequest))
        const asked = request?.headers[organizationHeader]?.toLowerCase()
        if (isTenantId(asked)) return asked
        // Operating the platform needs no organization and must work while the database is away.
        first ??= yield* Effect.orElseSucceed(users.firstOrganization, () => undefined)
        return first ?? nowhere
      })

      const ofProvider = Effect.fnUntraced(
        function* (token: string) {
          const user = yield* external.identify(token)
          if (user === undefined) return yield* unknownCaller
          yield* providerOutage.ended
          return { kind: "user", ...user, isPlatformAdmin: false } as const
        },
        Effect.catchTags({
          ExternalRefused: ({ message }) => Effect.fail(new Forbidden({ detail: message })),
          ProviderUnavailable: (error) =>
            Effect.andThen(
              providerOutage.began(Cause.fail(error.cause)),
              Effect.fail(new Unavailable({ detail: "The identity provider does not answer. Try again." }))
            ),
          DatabaseUnavailable: () =>
            Effect.fail(new Unavailable({ detail: "The database does not answer. Try again." }))
        })
      )

      const authenticate = Effect.fnUntraced(function* (
        token: string
      ): Effect.fn.Return<Caller, Unauthenticated | Forbidden | Unavailable> {
        if (commandLine.isToken(token)) {
          const tenantId = yield* commandLineTenant
          return { kind: "command-line", userId: undefined, tenantId, role: "admin", isPlatformAdmin: true }
        }
        const claims = yield* tokens.verify(token)
        if (claims === undefined) return yield* ofProvider(token)
        const { admin, gen, org, role, sid, sub, tmp } = claims
        if (!live.isLive(sid, gen)) return yield* calledBack
        const mustChangePassword = tmp === true
        return {
          kind: "user",
          userId: sub,
          tenantId: org,
          role,
          isPlatformAdmin: admin,
          sessionId: sid,
          mustChangePassword
        }
      })
      const identify = (token: string) => Effect.orElseSucceed(authenticate(token), () => undefined)
      return Callers.of({ identify, authenticate })
    })
  )
}

/** All by which a token becomes a caller. */
export const identities = Layer.mergeAll(
  AccessTokens.layer,
  CommandLineToken.layer,
  ExternalUsers.layerConfig.pipe(Layer.provide(ExternalTokens.layerConfig)),
  LiveSessions.layer,
  Users.layer
)

export const authorization = Layer.effect(
  Authorization,
  Effect.gen(function* () {
    const callers = yield* Callers
    return Authorization.of({
      bearer: Effect.fnUntraced(function* (handled, { credential, endpoint }) {
        const caller = yield* callers.authenticate(Redacted.value(credential))
        const required = Option.getOrUndefined(Context.getOption(endpoint.annotations, RequiredPermission))
        if (required === undefined || (required !== "none" && !isAllowed(caller, required))) {
          const actor = { ...(yield* CurrentActor), kind: caller.kind, id: caller.userId }
          yield* noteSecurity({
            action: "permission_refused",
            entityType: "permission",
            entityId: required,
            tenantId: caller.tenantId,
            actor
          })
          return yield* new Forbidden({
            detail: `This needs the permission ${required ?? "of nobody"}, which the role ${caller.role} does not have.`
          })
        }
        if (caller.mustChangePassword === true && required !== "none") return yield* temporaryPassword
        const actor = { ...(yield* CurrentActor), kind: caller.kind, id: caller.userId }
        return yield* handled.pipe(
          Effect.provideService(Principal, caller),
          Effect.provideService(CurrentActor, actor),
          Effect.annotateLogs(caller.userId === undefined ? {} : { userId: caller.userId })
        )
      })
    })
  })
)
