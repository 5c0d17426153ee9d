/**
 * Device types: drafted, tried, published as a whole.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { DeviceTypeConfig } from "../device-type.ts"
import { ProcessingMode } from "../envelope.ts"
import { PoisonReason } from "../errors.ts"
import { DeviceTypeId, TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { Metrics, Quality } from "../readings.ts"
import { ifMatch } from "./devices.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, label, page, pageQuery, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

const described = {
  description: Schema.optionalKey(text(2_000)),
  icon: Schema.optionalKey(Schema.NullOr(text(100))),
  protocol: Schema.optionalKey(Schema.NullOr(text(50)))
}
const summary = {
  id: DeviceTypeId,
  organizationId: TenantId,
  name: Schema.String,
  description: Schema.String,
  icon: Schema.NullOr(Schema.String),
  protocol: Schema.NullOr(Schema.String),
  processingMode: Schema.NullOr(ProcessingMode), // null until published
  publishedVersion: Schema.NullOr(Schema.Int),
  createdAt: IsoInstant,
  updatedAt: IsoInstant,
  version: Schema.Int // of name, description, icon, protocol; for If-Match
}
export const DeviceTypeSummary = Schema.Struct(summary).annotate({ identifier: "DeviceTypeSummary" })
export type DeviceTypeSummary = typeof DeviceTypeSummary.Type
export const DeviceType = Schema.Struct({
  ...summary,
  config: Schema.NullOr(DeviceTypeConfig), // the published one
  draft: Schema.NullOr(DeviceTypeConfig)
}).annotate({ identifier: "DeviceType" })
export type DeviceType = typeof DeviceType.Type

export const NewDeviceType = Schema.Struct({
  name: label(200),
  ...described,
  config: Schema.optionalKey(DeviceTypeConfig) // given: version 1 is published and in force at once
}).annotate({
  identifier: "NewDeviceType",
  examples: [{ name: "Temperature sensor", description: "Reports °C every minute" }]
})
export type NewDeviceType = typeof NewDeviceType.Type
export const DeviceTypeChange = Schema.Struct({ name: Schema.optionalKey(label(200)), ...described }).annotate({
  identifier: "DeviceTypeChange"
})
export type DeviceTypeChange = typeof DeviceTypeChange.Type

export const DeviceTypeVersion = Schema.Struct({
  number: Schema.Int,
  state: Schema.Literals(["draft", "published"]),
  effectiveAt: Schema.NullOr(IsoInstant), // decides which messages it applies to, by when they were received
  config: DeviceTypeConfig,
  note: Schema.String,
  author: Schema.NullOr(Uuid),
  createdAt: IsoInstant
}).annotate({ identifier: "DeviceTypeVersion" })
export type DeviceTypeVersion = typeof DeviceTypeVersion.Type

export const Draft = Schema.Struct({ config: DeviceTypeConfig, note: Schema.optionalKey(text(2_000)) }).annotate({
  identifier: "Draft"
})
export const Trial = Schema.Struct({
  payload: Schema.Json,
  config: Schema.optionalKey(DeviceTypeConfig) // the draft when absent, else what is published
}).annotate({ identifier: "Trial", examples: [{ payload: { temperature: 21.5 } }] })
export const TrialResult = Schema.Struct({
  readings: Schema.Array(
    Schema.Struct({
      timestamp: IsoInstant,
      metrics: Metrics,
      quality: Schema.Record(Schema.String, Quality) // only the metrics that are not good
    })
  ),
  skipped: Schema.Int, // optional metrics that could not be used
  error: Schema.NullOr(
    Schema.Struct({ reason: PoisonReason, message: Schema.String, path: Schema.NullOr(Schema.String) })
  )
}).annotate({ identifier: "TrialResult" })
export type TrialResult = typeof TrialResult.Type

export const DeviceTypeQuery = Schema.Struct(pageQuery) // `q`: part of the name
export type DeviceTypeQuery = typeof DeviceTypeQuery.Type

export class DeviceTypesApi extends HttpApiGroup.make("deviceTypes")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: DeviceTypeQuery.fields,
      success: page(DeviceTypeSummary, "DeviceTypePage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "device-types:read")
      .annotate(OpenApi.Summary, "Device types, page by page"),
    HttpApiEndpoint.post("create", "/", {
      payload: NewDeviceType,
      success: DeviceType.pipe(HttpApiSchema.status(201)),
      error: [Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "Add a device type; with a configuration it is published at once"),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: DeviceType, error: NotFound })
      .annotate(RequiredPermission, "device-types:read")
      .annotate(OpenApi.Summary, "One device type with its published configuration and its draft"),
    HttpApiEndpoint.patch("change", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: DeviceTypeChange,
      success: DeviceType,
      error: [NotFound, Conflict, PreconditionFailed, Unprocessable]
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "Change name, description, icon or protocol"),
    HttpApiEndpoint.get("versions", "/:id/versions", {
      params: idParams,
      success: page(DeviceTypeVersion, "DeviceTypeVersionPage"),
      error: NotFound
    })
      .annotate(RequiredPermission, "device-types:read")
      .annotate(OpenApi.Summary, "Every version, newest first"),
    HttpApiEndpoint.put("draft", "/:id/draft", {
      params: idParams,
      payload: Draft,
      success: DeviceType,
      error: [NotFound, Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "Write the draft; nothing changes until it is published"),
    HttpApiEndpoint.post("publish", "/:id/publish", {
      params: idParams,
      success: DeviceType,
      error: [NotFound, Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "Publish the draft: checked, its test vectors run, in force two seconds later"),
    HttpApiEndpoint.post("test", "/:id/test", {
      params: idParams,
      payload: Trial,
      success: TrialResult,
      error: [NotFound, Unprocessable]
    })
      .annotate(RequiredPermission, "device-types:read")
      .annotate(OpenApi.Summary, "What a payload would become; nothing is stored")
  )
  .prefix("/api/v1/device-types")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
