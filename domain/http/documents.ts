/**
 * Documents of assets and spaces: manuals, certificates, floor plans.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { documentMediaTypes, MAX_DOCUMENT_BYTES } from "../document-types.ts"
import { Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { InvalidRequest, NotFound, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, label, page, shortPageQuery } from "./scalars.ts"
import { Authorization, LargestBody, ReadableRequest } from "./security.ts"

export const Document = Schema.Struct({
  id: Uuid,
  ownerType: Schema.Literals(["asset", "space"]),
  ownerId: Uuid,
  name: Schema.String,
  mediaType: Schema.String,
  size: Schema.Int, // bytes
  sha256: Schema.String,
  createdAt: IsoInstant,
  createdBy: Schema.NullOr(Uuid)
}).annotate({ identifier: "Document" })
export type Document = typeof Document.Type

const listed = {
  params: idParams,
  query: shortPageQuery,
  success: page(Document, "DocumentPage"),
  error: [NotFound, InvalidRequest]
} as const
const added = {
  params: idParams,
  query: { name: label(255) },
  payload: [...documentMediaTypes, "application/octet-stream"].map((contentType) =>
    HttpApiSchema.asUint8Array({ contentType })(Schema.Uint8Array)
  ),
  success: Document.pipe(HttpApiSchema.status(201)),
  error: [NotFound, Unprocessable]
} as const
const adding =
  "The file itself is the body, at most 25 MiB. Its type is found by its extension and its content, whatever the request says."

export class DocumentsApi extends HttpApiGroup.make("documents")
  .add(
    HttpApiEndpoint.get("listOfAsset", "/assets/:id/documents", listed)
      .annotate(RequiredPermission, "assets:read")
      .annotate(OpenApi.Summary, "The documents of an asset, newest first"),
    HttpApiEndpoint.post("addToAsset", "/assets/:id/documents", added)
      .annotate(LargestBody, MAX_DOCUMENT_BYTES)
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "Add a document to an asset")
      .annotate(OpenApi.Description, adding),
    HttpApiEndpoint.get("listOfSpace", "/spaces/:id/documents", listed)
      .annotate(RequiredPermission, "assets:read")
      .annotate(OpenApi.Summary, "The documents of a space, newest first"),
    HttpApiEndpoint.post("addToSpace", "/spaces/:id/documents", added)
      .annotate(LargestBody, MAX_DOCUMENT_BYTES)
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "Add a document to a space, a floor plan for example")
      .annotate(OpenApi.Description, adding)
  )
  .add(
    HttpApiEndpoint.get("get", "/documents/:id", { params: idParams, success: Document, error: NotFound })
      .annotate(RequiredPermission, "assets:read")
      .annotate(OpenApi.Summary, "One document, without its content"),
    HttpApiEndpoint.get("content", "/documents/:id/content", {
      params: idParams,
      success: HttpApiSchema.asUint8Array({ contentType: "application/octet-stream" })(Schema.Uint8Array),
      error: NotFound
    })
      .annotate(RequiredPermission, "assets:read")
      .annotate(OpenApi.Summary, "The file, to be saved"),
    HttpApiEndpoint.delete("remove", "/documents/:id", {
      params: idParams,
      success: HttpApiSchema.NoContent,
      error: [NotFound, InvalidRequest]
    })
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "Remove a document and its file")
  )
  .prefix("/api/v1")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
