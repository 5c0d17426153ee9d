/**
 * The running platform as the command line reaches it: by its REST API, with the token in its secrets directory.
 * @module
 */
import * as ArgusIq from "@argusiq/client/ArgusIq.ts"
import { fixedToken } from "@argusiq/client/Bearer.ts"
import { wordsOf } from "@argusiq/client/words.ts"
import { Effect } from "effect"
import { FetchHttpClient } from "effect/http"
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
  const bearer = fixedToken(token)
  const apiOf = (organizationId: string | undefined) =>
    ArgusIq.make({ baseUrl: url, bearer, organizationId }).pipe(Effect.provide(FetchHttpClient.layer))
  return { record, url, api: yield* apiOf(undefined), apiOf }
})

/** What the platform refused, in the platform's own words. */
export const inWords =
  (attempt: string) =>
  (error: unknown): Refusal =>
    error instanceof Refusal ? error : new Refusal({ message: `${attempt}: ${wordsOf(error)}` })
