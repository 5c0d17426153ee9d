/**
 * Who calls, and whether they may: the one place where a token becomes a caller and a permission is checked.
 * @module
 */
import { Forbidden, Unauthenticated } from "@argusiq/domain/http/problems.ts"
import { Authorization, type Caller, Principal } from "@argusiq/domain/http/security.ts"
import { TenantId } from "@argusiq/domain/ids.ts"
import { isAllowed, RequiredPermission } from "@argusiq/domain/permissions.ts"
import { AccessTokens } from "@argusiq/layers/identity/AccessTokens.ts"
import { CommandLineToken } from "@argusiq/layers/identity/CommandLineToken.ts"
import { Users } from "@argusiq/layers/identity/Users.ts"
import { Context, Effect, Layer, Option, Redacted, Schema } from "effect"
import { HttpServerRequest } from "effect/http"

/** With which the command line says for which organization it acts; the first one when absent. */
const organizationHeader = "x-organization-id"
const nowhere = TenantId.make("00000000-0000-0000-0000-000000000000")

const isTenantId = Schema.is(TenantId)

const unknownCaller = new Unauthenticated({
  detail:
    "Send the header Authorization: Bearer with the accessToken from POST /api/v1/auth/login. It lasts 15 minutes."
})

/** The caller behind a bearer token, undefined when the token is none of ours or has ended. */
export class Callers extends Context.Service<
  Callers,
  {
    identify(token: string): Effect.Effect<Caller | undefined, never, HttpServerRequest.HttpServerRequest>
  }
>()("argusiq/services/api/Callers") {
  static readonly layer = Layer.effect(
    Callers,
    Effect.gen(function* () {
      const tokens = yield* AccessTokens
      const commandLine = yield* CommandLineToken
      const users = yield* Users
      let first: TenantId | undefined

      const commandLineTenant = Effect.gen(function* () {
        const asked = (yield* HttpServerRequest.HttpServerRequest).headers[organizationHeader]?.toLowerCase()
        if (isTenantId(asked)) return asked
        // Operating the platform needs no organization and must work while the database is away.
        first ??= yield* Effect.orElseSucceed(users.firstOrganization, () => undefined)
        return first ?? nowhere
      })

      const identify = Effect.fnUntraced(function* (token: string) {
        if (commandLine.isToken(token)) {
          const tenantId = yield* commandLineTenant
          return { kind: "command-line", userId: undefined, tenantId, role: "admin", isPlatformAdmin: true } as const
        }
        const claims = yield* tokens.verify(token)
        if (claims === undefined) return undefined
        const { admin, org, role, sub } = claims
        return { kind: "user", userId: sub, tenantId: org, role, isPlatformAdmin: admin } as const
      })
      return Callers.of({ identify })
    })
  )
}

export const authorization = Layer.effect(
  Authorization,
  Effect.gen(function* () {
    const callers = yield* Callers
    return Authorization.of({
      bearer: Effect.fnUntraced(function* (handled, { credential, endpoint }) {
        const caller = yield* callers.identify(Redacted.value(credential))
        if (caller === undefined) return yield* unknownCaller
        const required = Option.getOrUndefined(Context.getOption(endpoint.annotations, RequiredPermission))
        if (required === undefined || (required !== "none" && !isAllowed(caller, required))) {
          return yield* new Forbidden({
            detail: `This needs the permission ${required ?? "of nobody"}, which the role ${caller.role} does not have.`
          })
        }
        return yield* Effect.provideService(handled, Principal, caller)
      })
    })
  })
)
