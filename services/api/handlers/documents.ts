import { contentDisposition } from "@argusiq/domain/document-types.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { type Document } from "@argusiq/domain/http/documents.ts"
import { Documents } from "@argusiq/layers/registry/Documents.ts"
import { pageOf } from "@argusiq/layers/registry/paging.ts"
import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"

interface Named {
  readonly params: { readonly id: string }
}

export const documents = HttpApiBuilder.group(
  RestApi,
  "documents",
  Effect.fnUntraced(function* (handlers) {
    const documents = yield* Documents
    const listOf =
      (ownerType: Document["ownerType"]) =>
      ({ params, query }: Named & { readonly query: { readonly limit?: number; readonly cursor?: string } }) =>
        Effect.flatMap(Principal, (caller) => documents.list(caller, ownerType, params.id)).pipe(
          Effect.flatMap((items) => pageOf(items, query, ({ id }) => id)),
          orProblem
        )
    const addTo =
      (ownerType: Document["ownerType"]) =>
      ({
        params,
        payload,
        query
      }: Named & { readonly query: { readonly name: string }; readonly payload: Uint8Array }) =>
        Effect.flatMap(Principal, (caller) =>
          documents.add(caller, ownerType, params.id, { name: query.name, content: payload })
        ).pipe(Effect.catchTags({ AlreadyTaken: Effect.die, BadReference: Effect.die }), orProblem)
    return handlers.handleAll({
      listOfAsset: listOf("asset"),
      addToAsset: addTo("asset"),
      listOfSpace: listOf("space"),
      addToSpace: addTo("space"),
      get: ({ params }) => Effect.flatMap(Principal, (caller) => documents.get(caller, params.id)).pipe(orProblem),
      content: ({ params }) =>
        Effect.flatMap(Principal, (caller) => documents.read(caller, params.id)).pipe(
          Effect.map(({ content, document }) =>
            HttpServerResponse.uint8Array(content, {
              contentType: document.mediaType,
              headers: {
                "content-disposition": contentDisposition(document.name),
                "x-content-type-options": "nosniff",
                "content-security-policy": "default-src 'none'; sandbox",
                "cache-control": "private, no-store",
                etag: `"${document.sha256}"`
              }
            })
          ),
          orProblem
        ),
      remove: ({ params }) => Effect.flatMap(Principal, (caller) => documents.remove(caller, params.id)).pipe(orProblem)
    })
  })
)
