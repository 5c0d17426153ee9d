/**
 * The last thing before an answer leaves: whatever went wrong below becomes a problem that says nothing of the inside, with
 * the id under which the log tells the rest.
 * @module
 */
import { randomUUID } from "node:crypto"
import { CurrentActor } from "@argusiq/layers/database/CurrentActor.ts"
import { Cause, Effect, Option } from "effect"
import { Headers, HttpRouter, HttpServerError, HttpServerRequest, HttpServerResponse } from "effect/http"
import { allowedMethods } from "./allowedMethods.ts"

const problemType = "application/problem+json"

const titles: Readonly<Record<number, readonly [name: string, title: string]>> = {
  400: ["invalid-request", "The request is not valid"],
  404: ["not-found", "Not found"],
  405: ["method-not-allowed", "The address does not know this method"],
  413: ["body-too-large", "The request body is too large"],
  415: ["unsupported-media-type", "The content type is not supported here"],
  503: ["unavailable", "Not available at the moment"]
}

const contentTypeOf = ({ body, headers }: HttpServerResponse.HttpServerResponse) =>
  headers["content-type"] ?? (body._tag === "Uint8Array" ? body.contentType : "")

/** Another answer than a JSON one has been made outside of the contract: by the router, or by a defect. */
const problemFor = (status: number) => {
  const [name, title] = titles[status] ?? ["internal", status < 500 ? "The request was refused" : "The platform failed"]
  return { type: `urn:argusiq:problem:${name}`, status, title }
}

const decoder = new TextDecoder()
const memberOf = (body: HttpServerResponse.HttpServerResponse["body"]): object | undefined => {
  if (body._tag !== "Uint8Array") return undefined
  const parsed: unknown = JSON.parse(decoder.decode(body.body))
  return typeof parsed === "object" && parsed !== null ? parsed : undefined
}

const withRequestId = (response: HttpServerResponse.HttpServerResponse, requestId: string) => {
  if (response.status < 400) return HttpServerResponse.setHeader(response, "x-request-id", requestId)
  const contentType = contentTypeOf(response)
  if (contentType.startsWith("application/json"))
    return HttpServerResponse.setHeader(response, "x-request-id", requestId)
  const stated = contentType.startsWith(problemType) ? memberOf(response.body) : undefined
  const { status } = response
  return HttpServerResponse.jsonUnsafe(
    { ...(stated ?? problemFor(status)), requestId },
    {
      status,
      contentType: problemType,
      headers: {
        ...Headers.removeMany(response.headers, ["content-type", "content-length"]), // retry-after, for example, stays
        "x-request-id": requestId,
        ...(status === 401 && { "www-authenticate": "Bearer" })
      }
    }
  )
}

/** A caller's own id is kept where it is one, so that its log and ours can be read together. */
const requestIdOf = (presented: string | undefined) =>
  presented !== undefined && /^[\w.:-]{1,100}$/.test(presented) ? presented : randomUUID()

/** No route of this server: there is no such address, or it knows other methods. */
const withoutRoute = ({ method, url }: HttpServerRequest.HttpServerRequest) => {
  const allowed = allowedMethods(url)
  return allowed.length === 0 || allowed.includes(method)
    ? HttpServerResponse.empty({ status: 404 })
    : HttpServerResponse.empty({ status: 405, headers: { allow: allowed.join(", ") } })
}

/** For every route of the server, and for addresses without one. Log lines written meanwhile carry the request's id. */
export const problemBoundary = HttpRouter.middleware(
  (handled) =>
    Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const requestId = requestIdOf(request.headers["x-request-id"])
      const address = Option.getOrUndefined(request.remoteAddress)
      const response = yield* Effect.catchCause(handled, (cause) =>
        Cause.hasInterruptsOnly(cause)
          ? Effect.failCause(cause)
          : Effect.gen(function* () {
              const [response] = yield* HttpServerError.causeResponse(cause)
              if (response.status === 404) return withoutRoute(request)
              if (response.status >= 500) {
                yield* Effect.logError(`${request.method} ${request.url.split("?")[0]} failed`, cause)
              }
              return response
            })
      ).pipe(
        Effect.annotateLogs({ requestId }),
        // Whoever it turns out to be: what the request changes is told with its id and where it came from.
        Effect.provideService(CurrentActor, { kind: "system", requestId, address })
      )
      return withRequestId(response, requestId)
    }),
  { global: true }
)
