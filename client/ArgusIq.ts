/**
 * The platform's REST API as functions: one per operation, with typed requests, answers and refusals. Derived from the
 * contract that the server is made of.
 * @module
 */
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Authorization } from "@argusiq/domain/http/security.ts"
import { Effect } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import { HttpApiClient, HttpApiMiddleware } from "effect/http-api"
import { type Bearer } from "./Bearer.ts"

export interface Options {
  readonly baseUrl: string | URL
  readonly bearer: Bearer
  /** For which organization an installation's own token acts; a user's session says that itself. */
  readonly organizationId?: string | undefined
}

/** Sends each request as the bearer, and once more where its token was refused and can be renewed. */
const authorization = ({ renew, token }: Bearer) =>
  HttpApiMiddleware.layerClient(Authorization, ({ next, request }) =>
    Effect.gen(function* () {
      const used = yield* token
      const answer = yield* next(HttpClientRequest.bearerToken(request, used))
      if (answer.status !== 401) return answer
      const renewed = yield* renew(used)
      return renewed === undefined ? answer : yield* next(HttpClientRequest.bearerToken(request, renewed))
    })
  )

/** `client.devices.list({ query: { limit: 10 } })`, and so on for every group of the API. */
export const make = ({ baseUrl, bearer, organizationId }: Options) =>
  HttpApiClient.make(RestApi, {
    baseUrl,
    transformClient:
      organizationId === undefined
        ? undefined
        : HttpClient.mapRequest(HttpClientRequest.setHeader("x-organization-id", organizationId))
  }).pipe(Effect.provide(authorization(bearer)))

export type ArgusIq = Effect.Success<ReturnType<typeof make>>
