/**
 * Who a client acts as: a token that is given, or a session that is signed in and renews itself.
 * @module
 */
import { type Session } from "@argusiq/domain/http/auth.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { Clock, Effect, Redacted, Semaphore } from "effect"
import { HttpClient } from "effect/http"
import { HttpApiClient } from "effect/http-api"

export interface Bearer {
  /** The token for the next request. */
  readonly token: Effect.Effect<string>
  /** Another token in place of one that was refused; undefined: there is none, and the refusal counts. */
  readonly renew: (refused: string) => Effect.Effect<string | undefined>
}

/** A token that stays: an installation's `cli-token`, or an access token for its 15 minutes. */
export const fixedToken = (token: string): Bearer => ({
  token: Effect.succeed(token),
  renew: () => Effect.succeed(undefined)
})

export interface Credentials {
  readonly baseUrl: string | URL
  readonly email: string
  readonly password: Redacted.Redacted
  /** The default membership when absent. */
  readonly organizationId?: TenantId
}

/** A token that ends within this time is renewed before it is used. */
const AHEAD_MILLIS = 30_000

interface Held extends Session {
  readonly endsAt: number // epoch milliseconds
}

const hold = (session: Session): Effect.Effect<Held> =>
  Effect.map(Clock.currentTimeMillis, (now) => ({ ...session, endsAt: now + session.expiresIn * 1_000 }))

/**
 * Signs in, fails with what the platform refuses, and stays signed in from then on: by the refresh token, and by the password
 * where the session has ended meanwhile. Requests that need a renewed token at the same time share one.
 */
export const signIn = Effect.fn("signIn")(function* ({ baseUrl, email, organizationId, password }: Credentials) {
  const httpClient = yield* HttpClient.HttpClient
  const of = { group: "auth", httpClient, baseUrl } as const
  const logIn = yield* HttpApiClient.endpoint(RestApi, { ...of, endpoint: "login" })
  const refresh = yield* HttpApiClient.endpoint(RestApi, { ...of, endpoint: "refresh" })
  const byPassword = Effect.suspend(() =>
    logIn({
      payload: { email, password: Redacted.value(password), ...(organizationId !== undefined && { organizationId }) }
    })
  ).pipe(Effect.flatMap(hold))

  let held = yield* byPassword
  const one = Semaphore.makeUnsafe(1)
  const renewed = (isStill: () => boolean) =>
    one.withPermit(
      Effect.gen(function* () {
        if (!isStill()) return held.accessToken // somebody else was faster
        held = yield* refresh({ payload: { refreshToken: held.refreshToken } }).pipe(
          Effect.flatMap(hold),
          Effect.catch(() => byPassword)
        )
        return held.accessToken
      })
    )
  const bearer: Bearer = {
    token: Effect.flatMap(Clock.currentTimeMillis, (now) => {
      const endsSoon = () => held.endsAt - AHEAD_MILLIS < now
      if (!endsSoon()) return Effect.succeed(held.accessToken)
      return Effect.orElseSucceed(renewed(endsSoon), () => held.accessToken)
    }),
    renew: (refused) =>
      Effect.orElseSucceed(
        renewed(() => held.accessToken === refused),
        () => undefined
      )
  }
  return bearer
})
