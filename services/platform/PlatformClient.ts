/**
 * The running platform as the command line reaches it: by its REST API, with the token in its secrets directory.
 * @module
 */
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Authorization } from "@argusiq/domain/http/security.ts"
import { Effect, Layer, Predicate } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest } from "effect/http"
import { HttpApiClient, HttpApiMiddleware } from "effect/http-api"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { dataDirectory, runningPlatform } from "./DataDirectory.ts"
import { Refusal } from "./errors.ts"

export const tokenPath = (directory: string) => join(directory, "cli-token")

const readToken = (directory: string) =>
  Effect.try({
    try: () => readFileSync(tokenPath(directory), "utf8").trim(),
    catch: (cause) =>
      new Refusal({
        message: `The token of the command line cannot be read from ${tokenPath(directory)} (${String(cause)}). Run this as the user who runs the platform.`
      })
  })

/**
 * The platform that works in the data directory: what it says of itself, and typed clients of it. `api` acts for the
 * installation's first organisation, `apiOf` for a given one.
 */
export const connectToPlatform = Effect.gen(function* () {
  const directory = yield* dataDirectory
  const record = yield* runningPlatform(directory)
  if (record.http === undefined || !record.services.includes("api")) {
    return yield* new Refusal({
      message: `The platform in ${directory} (process ${record.pid}) runs without the service api, which this command needs. Start it with: npx argusiq start`
    })
  }
  const url = record.http
  const token = yield* readToken(record.secretsDirectory)
  const authorization = HttpApiMiddleware.layerClient(Authorization, ({ request, next }) =>
    next(HttpClientRequest.bearerToken(request, token))
  )
  const apiOf = (organizationId: string | undefined) =>
    HttpApiClient.make(RestApi, {
      baseUrl: url,
      transformClient:
        organizationId === undefined
          ? undefined
          : HttpClient.mapRequest(HttpClientRequest.setHeader("x-organization-id", organizationId))
    }).pipe(Effect.provide(Layer.merge(authorization, FetchHttpClient.layer)))
  return { record, url, api: yield* apiOf(undefined), apiOf }
})

const wordsOf = (error: unknown): string => {
  if (!Predicate.isObject(error)) return String(error)
  const title = Predicate.hasProperty(error, "title") ? String(error.title) : undefined
  const detail = Predicate.hasProperty(error, "detail") && error.detail !== undefined ? String(error.detail) : undefined
  const faults =
    Predicate.hasProperty(error, "errors") && Array.isArray(error.errors)
      ? error.errors.map((fault: { path: string; message: string }) => `${fault.path}: ${fault.message}`)
      : []
  const words = [title, detail, ...faults].filter((part) => part !== undefined)
  if (words.length > 0) return words.join("; ")
  return Predicate.hasProperty(error, "message") ? String(error.message) : String(error)
}

/** What the platform refused, in the platform's own words. */
export const inWords =
  (attempt: string) =>
  (error: unknown): Refusal =>
    error instanceof Refusal ? error : new Refusal({ message: `${attempt}: ${wordsOf(error)}` })
