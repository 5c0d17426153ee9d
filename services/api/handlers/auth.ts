import { pageOf } from "@argusiq/layers/registry/paging.ts"
import { Conflict, NotFound, TooManyRequests, Unauthenticated, Unprocessable } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { type Caller, Principal } from "@argusiq/domain/http/security.ts"
import { isAllowed, permissions } from "@argusiq/domain/permissions.ts"
import { type Client } from "@argusiq/layers/identity/openSession.ts"
import { Sessions, type TooManyAttempts } from "@argusiq/layers/identity/Sessions.ts"
import { Users } from "@argusiq/layers/identity/Users.ts"
import { Effect, Option, Redacted } from "effect"
import { HttpEffect, type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"

const wrongCredentials = new Unauthenticated({ detail: "E-mail or password is wrong, or the account has no access." })
const endedSession = new Unauthenticated({ detail: "The session has ended. Sign in again." })
const noSession = new NotFound({
  detail: "You have no session here: the command line and users of an identity provider sign in otherwise."
})
const noOrganization = new NotFound({ detail: "There is no such organization." })
const noInvitation = new NotFound({
  detail: "There is no such invitation, or the password is not the one that its administrator gave."
})
const noPassword = new Conflict({ detail: "You have no password here: change it where you sign in." })
const wrongPassword = new Unprocessable({
  errors: [{ path: "currentPassword", message: "is not your password" }]
})

const clientOf = (request: HttpServerRequest.HttpServerRequest): Client => ({
  address: Option.getOrElse(request.remoteAddress, () => "unknown"),
  userAgent: request.headers["user-agent"]
})

const tooManyAttempts = ({ secondsToWait }: TooManyAttempts) =>
  HttpEffect.appendPreResponseHandler((_, response) =>
    Effect.succeed(HttpServerResponse.setHeader(response, "retry-after", String(secondsToWait)))
  ).pipe(
    Effect.andThen(
      Effect.fail(new TooManyRequests({ detail: `Too many failed attempts. Try again in ${secondsToWait} seconds.` }))
    )
  )

/** The caller as a user with a session of this platform; `otherwise` for everybody else. */
const userOfSession = <E>(otherwise: E) =>
  Effect.flatMap(Principal, ({ sessionId, tenantId, userId }) =>
    userId === undefined || sessionId === undefined
      ? Effect.fail(otherwise)
      : Effect.succeed({ userId, tenantId, sessionId })
  )

export const auth = HttpApiBuilder.group(
  RestApi,
  "auth",
  Effect.fnUntraced(function* (handlers) {
    const sessions = yield* Sessions
    const users = yield* Users

    const me = Effect.fnUntraced(function* (caller: Caller) {
      const user = caller.userId === undefined ? undefined : yield* users.byId(caller.userId)
      // Who signs in elsewhere is in one organization, and learns nothing of others that know the same address.
      const isOfSession = user !== undefined && caller.sessionId !== undefined
      const here = user === undefined ? [] : [{ tenantId: caller.tenantId, role: caller.role, isDefault: true }]
      const memberships = isOfSession ? yield* users.memberships(user.id) : here
      return {
        userId: user?.id ?? null,
        email: user?.email ?? null,
        name: user?.name ?? "Command line",
        organizationId: caller.tenantId,
        role: caller.role,
        isPlatformAdmin: caller.isPlatformAdmin,
        mustChangePassword: caller.mustChangePassword === true,
        permissions: permissions.filter((permission) => isAllowed(caller, permission)),
        organizations: memberships.map(({ isDefault, role, tenantId }) => ({
          organizationId: tenantId,
          role,
          isDefault
        })),
        invitations: isOfSession ? yield* users.invitations(user.id) : []
      }
    })

    return handlers.handleAll({
      login: ({ payload, request }) =>
        sessions
          .login(
            {
              email: payload.email.trim(),
              password: Redacted.make(payload.password),
              organizationId: payload.organizationId
            },
            clientOf(request)
          )
          .pipe(
            Effect.catchTags({
              SignInRefused: () => Effect.fail(wrongCredentials),
              TooManyAttempts: tooManyAttempts
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
      switch: ({ payload, request }) =>
        Effect.flatMap(userOfSession(noSession), ({ userId }) =>
          sessions.switch(userId, payload.organizationId, clientOf(request))
        ).pipe(
          Effect.catchTag("SignInRefused", () => Effect.fail(noOrganization)),
          orProblem
        ),
      join: ({ payload, request }) =>
        Effect.flatMap(userOfSession(noSession), ({ userId }) =>
          sessions.join(
            { userId, tenantId: payload.organizationId, password: Redacted.make(payload.password) },
            clientOf(request)
          )
        ).pipe(
          Effect.catchTags({
            SignInRefused: () => Effect.fail(noInvitation),
            TooManyAttempts: tooManyAttempts
          }),
          orProblem
        ),
      changePassword: ({ payload, request }) =>
        Effect.flatMap(userOfSession(noPassword), ({ tenantId, userId }) =>
          sessions.changePassword(
            { userId, tenantId, password: Redacted.make(payload.currentPassword) },
            Redacted.make(payload.newPassword),
            clientOf(request)
          )
        ).pipe(
          Effect.catchTags({
            SignInRefused: () => Effect.fail(wrongPassword),
            TooManyAttempts: tooManyAttempts
          }),
          orProblem
        ),
      sessions: ({ query }) =>
        Effect.gen(function* () {
          const { sessionId, userId } = yield* Principal
          const own = userId === undefined || sessionId === undefined ? [] : yield* sessions.list(userId)
          const items = own.map((one) => ({ ...one, isCurrent: one.id === sessionId }))
          return yield* pageOf(items, query, ({ id }) => id)
        }).pipe(orProblem),
      endSession: ({ params }) =>
        Effect.flatMap(userOfSession(noSession), ({ userId }) => sessions.end(userId, params.id)).pipe(orProblem)
    })
  })
)
