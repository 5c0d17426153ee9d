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
import { PayloadEncodings } from "../trial-run.ts"
import { ifMatch } from "./devices.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, label, page, pageQuery, shortPageQuery, text } from "./scalars.ts"
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
  version: Schema.Int // raised by every change, of the draft and by publishing too; for If-Match
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

const exampleConfig = Schema.decodeSync(DeviceTypeConfig)({
  processingMode: "endpoint",
  extractionRules: { temperature: { path: "$.t", type: "numeric", unit: "Cel", required: true, min: -40, max: 85 } },
  testVectors: [{ name: "a warm room", payload: { t: 21.5 }, expected: [{ temperature: 21.5 }] }]
})
export const Draft = Schema.Struct({ config: DeviceTypeConfig, note: Schema.optionalKey(text(2_000)) }).annotate({
  identifier: "Draft",
  examples: [{ config: exampleConfig, note: "Reads the temperature" }]
})
export const Rollback = Schema.Struct({
  version: Schema.Int, // the published version whose configuration is published again
  note: Schema.optionalKey(text(2_000))
}).annotate({ identifier: "Rollback", examples: [{ version: 1, note: "The new scale was wrong" }] })

/** A payload as it is written down for a trial. */
export const TrialPayload = {
  payload: Schema.Json, // of chunked gateways and of Sparkplug an array is a sequence of payloads
  encoding: Schema.optionalKey(Schema.Literals(PayloadEncodings)) // absent: JSON, or what test vectors write: text, { hex }, { base64 }
}
/** What stops a message, or one entry of it. */
const problem = {
  reason: PoisonReason,
  message: Schema.String,
  path: Schema.NullOr(Schema.String),
  offset: Schema.NullOr(Schema.Int) // of the first byte that cannot be read
}
export const TrialProblem = Schema.Struct(problem).annotate({ identifier: "TrialProblem" })

export const Trial = Schema.Struct({
  ...TrialPayload,
  config: Schema.optionalKey(DeviceTypeConfig) // the draft when absent, else what is published
}).annotate({
  identifier: "Trial",
  examples: [{ payload: { temperature: 21.5 } }, { payload: "03 67 d7 00", encoding: "hex" }]
})

/** Only the metrics that are not good. */
const quality = Schema.Record(Schema.String, Quality)
const whose = {
  identifier: Schema.NullOr(Schema.String), // of a gateway's child
  port: Schema.NullOr(Schema.String)
}
export const TrialResult = Schema.Struct({
  readings: Schema.Array(Schema.Struct({ timestamp: IsoInstant, metrics: Metrics, quality, ...whose })),
  skipped: Schema.Int, // optional metrics that could not be used
  error: Schema.NullOr(TrialProblem), // the first of the dead letters
  documents: Schema.Array(Schema.Json), // what the adapter made of each payload
  whole: Schema.NullOr(Schema.Json), // what chunks came to
  entries: Schema.Array(
    Schema.Struct({
      index: Schema.Int, // place in its message
      ...whose,
      payload: Schema.Json,
      extracted: Schema.NullOr(Schema.Struct({ metrics: Metrics, quality, skipped: Schema.Int })) // before transformations; null: it fails
    })
  ),
  deadLetters: Schema.Array(
    Schema.Struct({
      payload: Schema.Int, // which of the payloads, from 0
      entry: Schema.NullOr(Schema.Int), // null: the whole message
      ...problem
    })
  )
}).annotate({ identifier: "TrialResult" })
export type TrialResult = typeof TrialResult.Type

export const DeviceTypeQuery = Schema.Struct(pageQuery) // `q`: part of the name
export type DeviceTypeQuery = typeof DeviceTypeQuery.Type

const changes = [NotFound, Conflict, PreconditionFailed, Unprocessable] as const

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
      error: changes
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "Change name, description, icon or protocol"),
    HttpApiEndpoint.put("replace", "/:id", {
      params: idParams,
      headers: ifMatch,
      payload: DeviceTypeChange,
      success: DeviceType,
      error: changes
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "The same as PATCH: what the body does not name stays"),
    HttpApiEndpoint.delete("remove", "/:id", {
      params: idParams,
      headers: ifMatch,
      success: HttpApiSchema.NoContent,
      error: changes
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "Remove a device type that no device, rule or other type names"),
    HttpApiEndpoint.get("versions", "/:id/versions", {
      params: idParams,
      query: shortPageQuery,
      success: page(DeviceTypeVersion, "DeviceTypeVersionPage"),
      error: [NotFound, InvalidRequest]
    })
      .annotate(RequiredPermission, "device-types:read")
      .annotate(OpenApi.Summary, "Every version, newest first"),
    HttpApiEndpoint.put("draft", "/:id/draft", {
      params: idParams,
      headers: ifMatch,
      payload: Draft,
      success: DeviceType,
      error: changes
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "Write the draft; nothing changes until it is published"),
    HttpApiEndpoint.post("publish", "/:id/publish", {
      params: idParams,
      headers: ifMatch,
      success: DeviceType,
      error: changes
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "Publish the draft: checked, its test vectors run, in force two seconds later"),
    HttpApiEndpoint.post("rollback", "/:id/rollback", {
      params: idParams,
      headers: ifMatch,
      payload: Rollback,
      success: DeviceType,
      error: changes
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "Publish an earlier version's configuration again; the draft stays"),
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
