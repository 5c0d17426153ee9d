/**
 * Asset types: drafted, tried, published as a whole; a child type inherits what it does not set.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { AssetTypeConfig } from "../asset/asset-type.ts"
import { AssetTypeId, TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { Rollback } from "./device-types.ts"
import { ifMatch } from "./devices.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, label, page, pageQuery, shortPageQuery, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

const optionalText = (maxLength: number) => Schema.optionalKey(Schema.NullOr(text(maxLength)))
const described = {
  description: Schema.optionalKey(text(2_000)),
  category: optionalText(100),
  icon: optionalText(100),
  color: Schema.optionalKey(
    Schema.NullOr(Schema.String.check(Schema.isPattern(/^#[0-9a-fA-F]{6}$/, { message: "must be #rrggbb" })))
  ),
  parentTypeId: Schema.optionalKey(Schema.NullOr(AssetTypeId)),
  customFields: Schema.optionalKey(Schema.JsonObject), // JSON Schema of the assets' custom attributes
  dashboard: Schema.optionalKey(Schema.JsonObject)
}
export const AssetType = Schema.Struct({
  id: AssetTypeId,
  organizationId: TenantId,
  name: Schema.String,
  description: Schema.String,
  category: Schema.NullOr(Schema.String),
  icon: Schema.NullOr(Schema.String),
  color: Schema.NullOr(Schema.String),
  parentTypeId: Schema.NullOr(AssetTypeId),
  customFields: Schema.JsonObject,
  dashboard: Schema.JsonObject,
  publishedVersion: Schema.NullOr(Schema.Int),
  hasDraft: Schema.Boolean,
  createdAt: IsoInstant,
  updatedAt: IsoInstant,
  version: Schema.Int // raised by every change, of the draft and by publishing too; for If-Match
}).annotate({ identifier: "AssetType" })
export type AssetType = typeof AssetType.Type

const exampleConfig = Schema.decodeSync(AssetTypeConfig)({
  metricDefinitions: [{ key: "temperature", displayName: "Temperature", dataType: "numeric", unit: "Cel" }],
  transformationEngine: { mappings: { temperature: "$.temp_1" } },
  thresholdRules: [{ metricKey: "temperature", direction: "above", warning: 8, critical: 12 }]
})
export const NewAssetType = Schema.Struct({
  name: label(200),
  ...described,
  config: Schema.optionalKey(AssetTypeConfig) // given: version 1 is published and in force at once
}).annotate({
  identifier: "NewAssetType",
  examples: [{ name: "Cold room", category: "Refrigeration", config: exampleConfig }]
})
export type NewAssetType = typeof NewAssetType.Type
export const AssetTypeChange = Schema.Struct({ name: Schema.optionalKey(label(200)), ...described }).annotate({
  identifier: "AssetTypeChange"
})
export type AssetTypeChange = typeof AssetTypeChange.Type

/** Of any form: what shows it decides. */
export const Dashboard = Schema.JsonObject.annotate({ identifier: "AssetTypeDashboard", examples: [{ widgets: [] }] })

export const AssetTypeVersion = Schema.Struct({
  number: Schema.Int,
  state: Schema.Literals(["draft", "published"]),
  effectiveAt: Schema.NullOr(IsoInstant),
  config: AssetTypeConfig, // what the type itself sets
  note: Schema.String,
  author: Schema.NullOr(Uuid),
  createdAt: IsoInstant
}).annotate({ identifier: "AssetTypeVersion" })
export type AssetTypeVersion = typeof AssetTypeVersion.Type

export const TelemetryConfig = Schema.Struct({
  assetTypeId: AssetTypeId,
  publishedVersion: Schema.NullOr(Schema.Int),
  effectiveAt: Schema.NullOr(IsoInstant),
  config: Schema.NullOr(AssetTypeConfig), // published, what the type itself sets
  resolved: Schema.NullOr(AssetTypeConfig), // published, with what it inherits
  draft: Schema.NullOr(AssetTypeConfig),
  note: Schema.NullOr(Schema.String), // of the draft
  version: Schema.Int
}).annotate({ identifier: "TelemetryConfig" })
export type TelemetryConfig = typeof TelemetryConfig.Type

/** A part of the configuration: absent keeps what the draft says; null sets nothing, so that it is inherited. */
const part = <S extends Schema.Top>(field: S) => Schema.optionalKey(Schema.NullOr(Schema.toEncoded(field)))
const parts = AssetTypeConfig.fields
export const TelemetryConfigChange = Schema.Struct({
  metricDefinitions: part(parts.metricDefinitions),
  transformationEngine: part(parts.transformationEngine),
  aggregationRules: part(parts.aggregationRules),
  validationRules: part(parts.validationRules),
  healthAlgorithm: part(parts.healthAlgorithm),
  thresholdRules: part(parts.thresholdRules),
  eventRules: part(parts.eventRules),
  rollup: part(parts.rollup),
  testVectors: part(parts.testVectors),
  note: Schema.optionalKey(text(2_000))
}).annotate({
  identifier: "TelemetryConfigChange",
  examples: [{ transformationEngine: { mappings: { temperature: "$.temp_1" } }, note: "Reads the first probe" }]
})
export type TelemetryConfigChange = typeof TelemetryConfigChange.Type

export const AssetTypeQuery = Schema.Struct({
  ...pageQuery, // `q`: part of the name
  parentTypeId: Schema.optionalKey(AssetTypeId),
  category: Schema.optionalKey(text(100))
})
export type AssetTypeQuery = typeof AssetTypeQuery.Type

const changes = [NotFound, Conflict, PreconditionFailed, Unprocessable] as const

export class AssetTypesApi extends HttpApiGroup.make("assetTypes")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: AssetTypeQuery.fields,
      success: page(AssetType, "AssetTypePage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "asset-types:read")
      .annotate(OpenApi.Summary, "Asset types, page by page"),
    HttpApiEndpoint.post("create", "/", {
      payload: NewAssetType,
      success: AssetType.pipe(HttpApiSchema.status(201)),
      error: [Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "asset-types:write")
      .annotate(OpenApi.Summary, "Add an asset type; with a configuration it is published at once"),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: AssetType, error: NotFound })
      .annotate(RequiredPermission, "asset-types:read")
      .annotate(OpenApi.Summary, "One asset type"),
    HttpApiEndpoint.patch("change", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: AssetTypeChange,
      success: AssetType,
      error: changes
    })
      .annotate(RequiredPermission, "asset-types:write")
      .annotate(
        OpenApi.Summary,
        "Change what the body names; another parent type makes new versions of what it changes"
      ),
    HttpApiEndpoint.put("replace", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: AssetTypeChange,
      success: AssetType,
      error: changes
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
      .annotate(OpenApi.Summary, "Remove an asset type that no asset, profile or child type names"),
    HttpApiEndpoint.get("dashboard", "/:id/dashboard", { params: idParams, success: Dashboard, error: NotFound })
      .annotate(RequiredPermission, "asset-types:read")
      .annotate(OpenApi.Summary, "What the page of an asset of this type shows"),
    HttpApiEndpoint.put("setDashboard", "/:id/dashboard", {
      params: idParams,
      headers: ifMatch,
      payload: Dashboard,
      success: Dashboard,
      error: changes
    })
      .annotate(RequiredPermission, "asset-types:write")
      .annotate(OpenApi.Summary, "Set what the page of an asset of this type shows"),
    HttpApiEndpoint.get("telemetryConfig", "/:id/telemetry-config", {
      params: idParams,
      success: TelemetryConfig,
      error: NotFound
    })
      .annotate(RequiredPermission, "asset-types:read")
      .annotate(OpenApi.Summary, "The telemetry configuration: in force, with what is inherited, and the draft"),
    HttpApiEndpoint.patch("draft", "/:id/telemetry-config", {
      params: idParams,
      headers: ifMatch,
      payload: TelemetryConfigChange,
      success: TelemetryConfig,
      error: changes
    })
      .annotate(RequiredPermission, "asset-types:write")
      .annotate(OpenApi.Summary, "Change the draft; nothing changes until it is published"),
    HttpApiEndpoint.post("publish", "/:id/publish", {
      params: idParams,
      headers: ifMatch,
      success: TelemetryConfig,
      error: changes
    })
      .annotate(RequiredPermission, "asset-types:write")
      .annotate(OpenApi.Summary, "Publish the draft: checked, its test vectors run, in force two seconds later"),
    HttpApiEndpoint.get("versions", "/:id/versions", {
      params: idParams,
      query: shortPageQuery,
      success: page(AssetTypeVersion, "AssetTypeVersionPage"),
      error: [NotFound, InvalidRequest]
    })
      .annotate(RequiredPermission, "asset-types:read")
      .annotate(OpenApi.Summary, "Every version, newest first"),
    HttpApiEndpoint.post("rollback", "/:id/rollback", {
      params: idParams,
      headers: ifMatch,
      payload: Rollback,
      success: TelemetryConfig,
      error: changes
    })
      .annotate(RequiredPermission, "asset-types:write")
      .annotate(OpenApi.Summary, "Publish an earlier version's configuration again; the draft stays")
  )
  .prefix("/api/v1/asset-types")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
