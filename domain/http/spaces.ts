/**
 * Spaces: where assets stand.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { parentQuery } from "./assets.ts"
import { ifMatch } from "./devices.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, label, page, pageQuery } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

const Kind = Schema.Literals(["site", "building", "floor", "room", "area"])

export const Space = Schema.Struct({
  id: Uuid,
  organizationId: TenantId,
  name: Schema.String,
  kind: Kind,
  parentId: Schema.NullOr(Uuid),
  floorPlanDocumentId: Schema.NullOr(Uuid),
  createdAt: IsoInstant,
  updatedAt: IsoInstant,
  version: Schema.Int
}).annotate({ identifier: "Space" })
export type Space = typeof Space.Type

const placed = {
  parentId: Schema.optionalKey(Schema.NullOr(Uuid)),
  floorPlanDocumentId: Schema.optionalKey(Schema.NullOr(Uuid)) // an image among the documents of the space
}
export const NewSpace = Schema.Struct({ name: label(200), kind: Kind, ...placed }).annotate({
  identifier: "NewSpace",
  examples: [{ name: "Warehouse Hamburg", kind: "site" }]
})
export type NewSpace = typeof NewSpace.Type
export const SpaceChange = Schema.Struct({
  name: Schema.optionalKey(label(200)),
  kind: Schema.optionalKey(Kind),
  ...placed
}).annotate({ identifier: "SpaceChange" })
export type SpaceChange = typeof SpaceChange.Type

export const SpaceQuery = Schema.Struct({
  ...pageQuery, // `q`: part of the name
  parentId: parentQuery(Uuid),
  kind: Schema.optionalKey(Kind)
})
export type SpaceQuery = typeof SpaceQuery.Type

export class SpacesApi extends HttpApiGroup.make("spaces")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: SpaceQuery.fields,
      success: page(Space, "SpacePage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "assets:read")
      .annotate(OpenApi.Summary, "Spaces, page by page; with parentId one level of the tree"),
    HttpApiEndpoint.post("create", "/", {
      payload: NewSpace,
      success: Space.pipe(HttpApiSchema.status(201)),
      error: [Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "Add a space"),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: Space, error: NotFound })
      .annotate(RequiredPermission, "assets:read")
      .annotate(OpenApi.Summary, "One space"),
    HttpApiEndpoint.patch("change", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: SpaceChange,
      success: Space,
      error: [NotFound, Conflict, PreconditionFailed, Unprocessable]
    })
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "Change what the body names"),
    HttpApiEndpoint.put("replace", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: SpaceChange,
      success: Space,
      error: [NotFound, Conflict, PreconditionFailed, Unprocessable]
    })
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "The same as PATCH: what the body does not name stays"),
    HttpApiEndpoint.delete("remove", "/:id", {
      params: idParams,
      headers: ifMatch,
      success: HttpApiSchema.NoContent,
      error: [NotFound, PreconditionFailed, Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "Remove a space that holds no other space and no asset")
  )
  .prefix("/api/v1/spaces")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
