import { NotFound, TooManyRequests, Unauthenticated } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { type Caller, Principal } from "@argusiq/domain/http/security.ts"
import { isAllowed, permissions } from "@argusiq/domain/permissions.ts"
import { Sessions } from "@argusiq/layers/identity/Sessions.ts"
import { Users } from "@argusiq/layers/identity/Users.ts"
import { Effect, Option, Redacted } from "effect"
import { HttpEffect, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"

const wrongCredentials = new Unauthenticated({ detail: "E-mail or password is wrong, or the account has no access." })
const endedSession = new Unauthenticated({ detail: "The session has ended. Sign in again." })

export const auth = HttpApiBuilder.group(
  RestApi,
  "auth",
  Effect.fnUntraced(function* (handlers) {
    const sessions = yield* Sessions
    const users = yield* Users

    const me = Effect.fnUntraced(function* (caller: Caller) {
      const user = caller.userId === undefined ? undefined : yield* users.byId(caller.userId)
      const memberships = user === undefined ? [] : yield* users.memberships(user.id)
      return {
        userId: user?.id ?? null,
        email: user?.email ?? null,
        name: user?.name ?? "Command line",
        organizationId: caller.tenantId,
        role: caller.role,
        isPlatformAdmin: caller.isPlatformAdmin,
        permissions: permissions.filter((permission) => isAllowed(caller, permission)),
        organizations: memberships.map(({ isDefault, role, tenantId }) => ({
          organizationId: tenantId,
          role,
          isDefault
        }))
      }
    })

    return handlers.handleAll({
      login: ({ payload, request }) =>
        sessions
          .login({
            email: payload.email.trim(),
            password: Redacted.make(payload.password),
            organizationId: payload.organizationId,
            address: Option.getOrElse(request.remoteAddress, () => "unknown")
          })
          .pipe(
            Effect.catchTags({
              SignInRefused: () => Effect.fail(wrongCredentials),
              TooManyAttempts: ({ secondsToWait }) =>
                HttpEffect.appendPreResponseHandler((_, response) =>
                  Effect.succeed(HttpServerResponse.setHeader(response, "retry-after", String(secondsToWait)))
                ).pipe(
                  Effect.andThen(
                    Effect.fail(
                      new TooManyRequests({
                        detail: `Too many failed attempts. Try again in ${secondsToWait} seconds.`
                      })
                    )
                  )
                )
            }),
            orProblem
          ),
      refresh: ({ payload }) =>
        sessions.refresh(payload.refreshToken).pipe(
          Effect.catchTag("SignInRefused", () => Effect.fail(endedSession)),
          orProblem
        ),
      logout: ({ payload }) => orProblem(sessions.logout(payload.refreshToken)),
      me: () => Effect.flatMap(Principal, me).pipe(orProblem),
      switch: ({ payload }) =>
        Effect.gen(function* () {
          const { userId } = yield* Principal
          if (userId === undefined) {
            return yield* new NotFound({
              detail: "The command line has no session. Send the header x-organization-id."
            })
          }
          return yield* sessions.switch(userId, payload.organizationId)
        }).pipe(
          Effect.catchTag("SignInRefused", () =>
            Effect.fail(new NotFound({ detail: "There is no such organization." }))
          ),
          orProblem
        )
    })
  })
)
