/**
 * Asset profiles: what assets of one kind begin with, and the mappings and thresholds that they keep sharing.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { AssetTypeId, metricMap, TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { Asset, NewAsset } from "./assets.ts"
import { ifMatch } from "./devices.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, label, page, pageQuery, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

const DeviceMode = Schema.Literals(["none", "one", "many"])
const LocationMode = Schema.Literals(["none", "coordinates", "floor_plan"])
const score = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 100 }))
/** Below warning the badge warns, below critical it alarms. */
const HealthThresholds = Schema.Struct({ warning: score, critical: score }).check(
  Schema.makeFilter(({ critical, warning }) => critical < warning || "critical must be below warning")
)
/** Asset metric → path in the device reading's metrics; over the type's, under the link's. */
const Mappings = metricMap(Schema.NonEmptyString)

export const AssetProfile = Schema.Struct({
  id: Uuid,
  organizationId: TenantId,
  name: Schema.String,
  description: Schema.String,
  assetTypeId: AssetTypeId,
  deviceMode: DeviceMode,
  locationMode: LocationMode,
  defaultAttributes: Schema.JsonObject,
  healthThresholds: Schema.NullOr(HealthThresholds), // null: 70 and 40
  telemetryMappings: Mappings,
  alarmSettings: Schema.JsonObject,
  icon: Schema.NullOr(Schema.String),
  usageCount: Schema.Int, // assets that have it
  createdAt: IsoInstant,
  updatedAt: IsoInstant,
  version: Schema.Int
}).annotate({ identifier: "AssetProfile" })
export type AssetProfile = typeof AssetProfile.Type

const settings = {
  description: Schema.optionalKey(text(2_000)),
  deviceMode: Schema.optionalKey(DeviceMode),
  locationMode: Schema.optionalKey(LocationMode),
  defaultAttributes: Schema.optionalKey(Schema.JsonObject),
  healthThresholds: Schema.optionalKey(Schema.NullOr(HealthThresholds)),
  telemetryMappings: Schema.optionalKey(Mappings),
  alarmSettings: Schema.optionalKey(Schema.JsonObject),
  icon: Schema.optionalKey(Schema.NullOr(text(100)))
}
export const NewAssetProfile = Schema.Struct({ name: label(200), assetTypeId: AssetTypeId, ...settings }).annotate({
  identifier: "NewAssetProfile",
  examples: [
    {
      name: "Cold room with one probe",
      assetTypeId: AssetTypeId.make("01890a5d-ac96-774b-bcce-b302099a8057"),
      defaultAttributes: { volume: 40 },
      telemetryMappings: { temperature: "$.temp_1" }
    }
  ]
})
export type NewAssetProfile = typeof NewAssetProfile.Type
/** The type stays: assets have been made with it. */
export const AssetProfileChange = Schema.Struct({ name: Schema.optionalKey(label(200)), ...settings }).annotate({
  identifier: "AssetProfileChange"
})
export type AssetProfileChange = typeof AssetProfileChange.Type

export const AssetProfileQuery = Schema.Struct({
  ...pageQuery, // `q`: part of the name
  assetTypeId: Schema.optionalKey(AssetTypeId)
})
export type AssetProfileQuery = typeof AssetProfileQuery.Type

export class AssetProfilesApi extends HttpApiGroup.make("assetProfiles")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: AssetProfileQuery.fields,
      success: page(AssetProfile, "AssetProfilePage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "asset-types:read")
      .annotate(OpenApi.Summary, "Asset profiles with how often each is used, page by page"),
    HttpApiEndpoint.post("create", "/", {
      payload: NewAssetProfile,
      success: AssetProfile.pipe(HttpApiSchema.status(201)),
      error: [Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "asset-types:write")
      .annotate(OpenApi.Summary, "Add an asset profile"),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: AssetProfile, error: NotFound })
      .annotate(RequiredPermission, "asset-types:read")
      .annotate(OpenApi.Summary, "One asset profile"),
    HttpApiEndpoint.patch("change", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: AssetProfileChange,
      success: AssetProfile,
      error: [NotFound, Conflict, PreconditionFailed, Unprocessable]
    })
      .annotate(RequiredPermission, "asset-types:write")
      .annotate(OpenApi.Summary, "Change what the body names; its assets follow in mappings and thresholds"),
    HttpApiEndpoint.put("replace", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: AssetProfileChange,
      success: AssetProfile,
      error: [NotFound, Conflict, PreconditionFailed, Unprocessable]
    })
      .annotate(RequiredPermission, "asset-types:write")
      .annotate(OpenApi.Summary, "The same as PATCH: what the body does not name stays"),
    HttpApiEndpoint.delete("remove", "/:id", {
      params: idParams,
      headers: ifMatch,
      success: HttpApiSchema.NoContent,
      error: [NotFound, PreconditionFailed, Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "asset-types:write")
      .annotate(OpenApi.Summary, "Remove an asset profile that no asset has"),
    HttpApiEndpoint.post("createAsset", "/:id/assets", {
      params: idParams,
      payload: NewAsset,
      success: Asset.pipe(HttpApiSchema.status(201)),
      error: [NotFound, Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "assets:write")
      .annotate(
        OpenApi.Summary,
        "Add an asset from this profile: default attributes are copied, what the body says counts"
      )
  )
  .prefix("/api/v1/asset-profiles")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
