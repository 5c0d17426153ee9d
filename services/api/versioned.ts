/**
 * Guarding against lost updates: the version in the etag, and the version that a change is based on.
 * @module
 */
import { InvalidRequest } from "@argusiq/domain/http/problems.ts"
import { type Caller, Principal } from "@argusiq/domain/http/security.ts"
import { Effect } from "effect"
import { HttpEffect, HttpServerResponse } from "effect/http"

/** The version in an if-match header, `"3"` or `3`; undefined when there is none or any is right (`*`). */
export const basedOn = (headers: {
  readonly "if-match"?: string
}): Effect.Effect<number | undefined, InvalidRequest> => {
  const ifMatch = headers["if-match"]?.trim()
  if (ifMatch === undefined || ifMatch === "*") return Effect.succeed(undefined)
  const version = /^(?:W\/)?"?(\d{1,9})"?$/.exec(ifMatch)?.[1]
  if (version !== undefined) return Effect.succeed(Number(version))
  return Effect.fail(
    new InvalidRequest({
      errors: [{ path: "headers.if-match", message: 'must be a version as in the etag, such as "3"' }]
    })
  )
}

/** What the caller asks for, told which version it is based on. */
export const basedOnVersion = <A, E, R>(
  headers: Parameters<typeof basedOn>[0],
  change: (caller: Caller, version: number | undefined) => Effect.Effect<A, E, R>
) =>
  Effect.gen(function* () {
    const version = yield* basedOn(headers)
    return yield* change(yield* Principal, version)
  })

/** Adds the etag to the answer that shows the thing. */
export const withEtag = <A extends { readonly version: number }, E, R>(shown: Effect.Effect<A, E, R>) =>
  Effect.tap(shown, ({ version }) =>
    HttpEffect.appendPreResponseHandler((_, response) =>
      Effect.succeed(response.status < 300 ? HttpServerResponse.setHeader(response, "etag", `"${version}"`) : response)
    )
  )
