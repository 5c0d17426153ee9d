/**
 * What the HTTP interface can do, as the code does it: `/openapi.json`, and `/docs` to read it in a browser. Both come from
 * the platform itself; nothing is loaded from elsewhere.
 * @module
 */
import { IngestApi } from "@argusiq/domain/http/ingest.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { HttpApi, HttpApiScalar, OpenApi } from "effect/http-api"
import { completeDocument } from "./openapi/document.ts"

/** Every contract that the platform serves, in one. */
export const publishedApi = HttpApi.make("argusiq")
  .addHttpApi(IngestApi)
  .addHttpApi(RestApi)
  .annotateMerge(
    OpenApi.annotations({
      title: "ArgusIQ",
      version: "1",
      description:
        "Sign in with POST /api/v1/auth/login and send the accessToken as Authorization: Bearer. Every refusal is a problem " +
        "(RFC 9457) with the faults of the request in errors and an id to find it in the log.",
      transform: completeDocument
    })
  )

const openApi = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const document = HttpServerResponse.jsonUnsafe(OpenApi.fromApi(publishedApi))
    yield* router.add("GET", "/openapi.json", document)
  })
)

export const documentation = Layer.merge(openApi, HttpApiScalar.layer(publishedApi, { path: "/docs" }))
