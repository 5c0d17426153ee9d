/**
 * Assets: what devices measure, in a tree of their own.
 * @module
 */
import { Schema, Struct } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { AssetId, AssetTypeId, TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { ifMatch } from "./devices.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, label, page, pageQuery, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

const Status = Schema.Literals(["active", "inactive", "decommissioned"])
const Location = Schema.Struct({
  lat: Schema.Finite.check(Schema.isBetween({ minimum: -90, maximum: 90 })),
  lon: Schema.Finite.check(Schema.isBetween({ minimum: -180, maximum: 180 }))
})
/** In pixels of the floor plan of its space. */
const PlanPosition = Schema.Struct({ x: Schema.Finite, y: Schema.Finite })

export const Asset = Schema.Struct({
  id: AssetId,
  organizationId: TenantId,
  name: Schema.String,
  description: Schema.String,
  assetTypeId: AssetTypeId,
  profileId: Schema.NullOr(Uuid),
  parentId: Schema.NullOr(AssetId),
  spaceId: Schema.NullOr(Uuid),
  location: Schema.NullOr(Location),
  planPosition: Schema.NullOr(PlanPosition),
  status: Status,
  customAttributes: Schema.JsonObject,
  healthScore: Schema.NullOr(Schema.Finite), // 0..100; null: no data
  healthScoreUpdatedAt: Schema.NullOr(IsoInstant),
  healthScoreComputedBy: Schema.NullOr(Schema.String),
  lastTelemetryAt: Schema.NullOr(IsoInstant),
  childrenCount: Schema.Int,
  linkedDevicesCount: Schema.Int, // by links that are valid at the moment
  createdAt: IsoInstant,
  updatedAt: IsoInstant,
  version: Schema.Int // for If-Match; also in the header etag
}).annotate({ identifier: "Asset" })
export type Asset = typeof Asset.Type

const attributes = {
  description: Schema.optionalKey(text(2_000)),
  profileId: Schema.optionalKey(Schema.NullOr(Uuid)),
  parentId: Schema.optionalKey(Schema.NullOr(AssetId)),
  spaceId: Schema.optionalKey(Schema.NullOr(Uuid)),
  location: Schema.optionalKey(Schema.NullOr(Location)),
  planPosition: Schema.optionalKey(Schema.NullOr(PlanPosition)),
  status: Schema.optionalKey(Status),
  customAttributes: Schema.optionalKey(Schema.JsonObject)
}
export const NewAsset = Schema.Struct({
  name: label(200),
  assetTypeId: Schema.optionalKey(AssetTypeId), // may be left out where a profile says it
  ...attributes
}).annotate({
  identifier: "NewAsset",
  examples: [
    {
      name: "Cold room 1",
      assetTypeId: AssetTypeId.make("01890a5d-ac96-774b-bcce-b302099a8057"),
      customAttributes: { volume: 40 }
    }
  ]
})
export type NewAsset = typeof NewAsset.Type
export const AssetChange = Schema.Struct({
  name: Schema.optionalKey(label(200)),
  assetTypeId: Schema.optionalKey(AssetTypeId),
  ...attributes
}).annotate({ identifier: "AssetChange" })
export type AssetChange = typeof AssetChange.Type

/** Of a tree: `root` for what has no parent. */
export const parentQuery = <S extends Schema.Top>(id: S) =>
  Schema.optionalKey(Schema.Union([Schema.Literal("root"), id]))

export const AssetQuery = Schema.Struct({
  ...pageQuery, // `q`: part of the name
  parentId: parentQuery(AssetId),
  assetTypeId: Schema.optionalKey(AssetTypeId),
  profileId: Schema.optionalKey(Uuid),
  spaceId: Schema.optionalKey(Uuid), // the spaces in it too
  groupId: Schema.optionalKey(Uuid),
  status: Schema.optionalKey(Status)
})
export type AssetQuery = typeof AssetQuery.Type

const changes = [NotFound, Conflict, PreconditionFailed, Unprocessable] as const

export class AssetsApi extends HttpApiGroup.make("assets")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: AssetQuery.fields,
      success: page(Asset, "AssetPage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "assets:read")
      .annotate(OpenApi.Summary, "Assets, page by page; with parentId one level of the tree"),
    HttpApiEndpoint.post("create", "/", {
      payload: NewAsset,
      success: Asset.pipe(HttpApiSchema.status(201)),
      error: [Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "Add an asset; from a profile it takes the default attributes"),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: Asset, error: NotFound })
      .annotate(RequiredPermission, "assets:read")
      .annotate(OpenApi.Summary, "One asset"),
    HttpApiEndpoint.get("children", "/:id/children", {
      params: idParams,
      query: Struct.omit(AssetQuery.fields, ["parentId"]),
      success: page(Asset, "AssetPage"),
      error: [NotFound, InvalidRequest]
    })
      .annotate(RequiredPermission, "assets:read")
      .annotate(OpenApi.Summary, "The assets below an asset, page by page"),
    HttpApiEndpoint.patch("change", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: AssetChange,
      success: Asset,
      error: changes
    })
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "Change what the body names"),
    HttpApiEndpoint.put("replace", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: AssetChange,
      success: Asset,
      error: changes
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
      .annotate(OpenApi.Summary, "Remove an asset and its documents; its links end, what it measured stays stored")
  )
  .prefix("/api/v1/assets")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
