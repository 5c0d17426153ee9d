/**
 * Asset groups: a list of assets, or a saved filter.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { AssetId, AssetTypeId, TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { ifMatch } from "./devices.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, label, page, pageQuery, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

/** All that is given must hold. */
export const AssetFilter = Schema.Struct({
  assetTypeId: Schema.optionalKey(AssetTypeId),
  profileId: Schema.optionalKey(Uuid),
  parentId: Schema.optionalKey(AssetId),
  spaceId: Schema.optionalKey(Uuid), // the spaces in it too
  status: Schema.optionalKey(Schema.Literals(["active", "inactive", "decommissioned"])),
  q: Schema.optionalKey(text(200)), // part of the name
  attributes: Schema.optionalKey(Schema.JsonObject) // custom attributes with these values
}).annotate({ identifier: "AssetFilter" })

export const AssetGroup = Schema.Struct({
  id: Uuid,
  organizationId: TenantId,
  name: Schema.String,
  description: Schema.String,
  filter: Schema.NullOr(AssetFilter), // null: a list
  assetCount: Schema.Int, // at the moment
  createdAt: IsoInstant,
  updatedAt: IsoInstant,
  version: Schema.Int
}).annotate({ identifier: "AssetGroup" })
export type AssetGroup = typeof AssetGroup.Type

const content = {
  description: Schema.optionalKey(text(2_000)),
  filter: Schema.optionalKey(Schema.NullOr(AssetFilter)),
  assetIds: Schema.optionalKey(Schema.Array(AssetId).check(Schema.isMaxLength(10_000))) // the whole list
}
const filterOrList = Schema.makeFilter(
  ({ assetIds, filter }: { readonly filter?: unknown; readonly assetIds?: unknown }) =>
    filter === undefined || filter === null || assetIds === undefined || "assetIds and filter exclude each other"
)
export const NewAssetGroup = Schema.Struct({ name: label(200), ...content })
  .check(filterOrList)
  .annotate({
    identifier: "NewAssetGroup",
    examples: [{ name: "Cold rooms in use", filter: { status: "active", attributes: { kind: "cold" } } }]
  })
export type NewAssetGroup = typeof NewAssetGroup.Type
export const AssetGroupChange = Schema.Struct({ name: Schema.optionalKey(label(200)), ...content })
  .check(filterOrList)
  .annotate({ identifier: "AssetGroupChange" })
export type AssetGroupChange = typeof AssetGroupChange.Type

export const AssetGroupQuery = Schema.Struct(pageQuery) // `q`: part of the name
export type AssetGroupQuery = typeof AssetGroupQuery.Type

export class AssetGroupsApi extends HttpApiGroup.make("assetGroups")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: AssetGroupQuery.fields,
      success: page(AssetGroup, "AssetGroupPage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "assets:read")
      .annotate(OpenApi.Summary, "Asset groups, page by page; their assets by GET /assets?groupId="),
    HttpApiEndpoint.post("create", "/", {
      payload: NewAssetGroup,
      success: AssetGroup.pipe(HttpApiSchema.status(201)),
      error: [Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "Add an asset group"),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: AssetGroup, error: NotFound })
      .annotate(RequiredPermission, "assets:read")
      .annotate(OpenApi.Summary, "One asset group"),
    HttpApiEndpoint.patch("change", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: AssetGroupChange,
      success: AssetGroup,
      error: [NotFound, Conflict, PreconditionFailed, Unprocessable]
    })
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "Change what the body names; assetIds replace the list"),
    HttpApiEndpoint.put("replace", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: AssetGroupChange,
      success: AssetGroup,
      error: [NotFound, Conflict, PreconditionFailed, Unprocessable]
    })
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "The same as PATCH: what the body does not name stays"),
    HttpApiEndpoint.delete("remove", "/:id", {
      params: idParams,
      headers: ifMatch,
      success: HttpApiSchema.NoContent,
      error: [NotFound, PreconditionFailed, Conflict]
    })
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "Remove an asset group that no rule names")
  )
  .prefix("/api/v1/asset-groups")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
