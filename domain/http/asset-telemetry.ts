/**
 * What assets come to: history, latest values, health; and what a configuration would make of readings.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { HealthContribution } from "../asset/asset-reading.ts"
import { AssetTypeConfig } from "../asset/asset-type.ts"
import { AssetId, metricMap } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { Metrics, Quality } from "../readings.ts"
import { InvalidRequest, NotFound, Unprocessable } from "./problems.ts"
import { idParams, InstantFromIso, IsoInstant, limit } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"
import { DeviceHistory, DeviceLatest, HistoryQuery } from "./telemetry.ts"

const [single, several] = DeviceHistory.members
const { deviceId: _single, ...singleFields } = single.fields
const { deviceId: _several, ...severalFields } = several.fields
export const AssetHistory = Schema.Union([
  Schema.Struct({ assetId: AssetId, ...singleFields }),
  Schema.Struct({ assetId: AssetId, ...severalFields })
]).annotate({ identifier: "AssetHistory" })
export type AssetHistory = typeof AssetHistory.Type

export const AssetLatest = Schema.Struct({
  assetId: AssetId,
  metrics: DeviceLatest.fields.metrics,
  updating: Schema.Boolean, // values of a gateway's message wait for those of its other assets
  lastTelemetryAt: Schema.NullOr(IsoInstant),
  healthScore: Schema.NullOr(Schema.Finite)
}).annotate({ identifier: "AssetLatest" })
export type AssetLatest = typeof AssetLatest.Type

const judged = {
  score: Schema.NullOr(Schema.Finite), // null: no data, never 0
  algorithm: Schema.NullOr(Schema.String),
  version: Schema.NullOr(Schema.Int), // of the asset type
  contributions: Schema.Array(HealthContribution), // their points add up to the score
  inputs: Schema.Record(Schema.String, Schema.Json), // the values that it was judged by
  devices: Schema.Int // that took part at that instant
}
export const AssetHealthQuery = Schema.Struct({
  startTime: Schema.optionalKey(InstantFromIso), // 24 hours ago; included
  endTime: Schema.optionalKey(InstantFromIso), // now; excluded
  limit: Schema.optionalKey(limit(10_000)) // of the history, newest first; 1,000
})
export type AssetHealthQuery = typeof AssetHealthQuery.Type
export const AssetHealth = Schema.Struct({
  assetId: AssetId,
  ...judged,
  updatedAt: Schema.NullOr(IsoInstant),
  history: Schema.Array(Schema.Struct({ timestamp: IsoInstant, score: Schema.Finite }))
}).annotate({ identifier: "AssetHealth" })
export type AssetHealth = typeof AssetHealth.Type

const mapping = metricMap(Schema.NonEmptyString)
const tried = {
  config: Schema.optionalKey(AssetTypeConfig), // the draft when absent, else what is published
  linkMapping: Schema.optionalKey(mapping),
  profileMapping: Schema.optionalKey(mapping)
}
export const TelemetryConfigTrial = Schema.Struct({
  ...tried,
  readings: Schema.NonEmptyArray(
    Schema.Struct({
      timestamp: Schema.optionalKey(InstantFromIso), // now
      port: Schema.optionalKey(Schema.String),
      metrics: Metrics,
      quality: Schema.optionalKey(Schema.Record(Schema.String, Quality))
    })
  ).check(Schema.isMaxLength(1_000))
}).annotate({
  identifier: "TelemetryConfigTrial",
  examples: [{ readings: [{ metrics: { temp_1: 21.5 } }] }]
})
export type TelemetryConfigTrial = typeof TelemetryConfigTrial.Type

const values = Schema.Record(Schema.String, Schema.Json)
export const TelemetryConfigSteps = Schema.Struct({
  steps: Schema.Array(
    Schema.Struct({
      timestamp: IsoInstant,
      mapped: values,
      refused: Schema.Record(Schema.String, Schema.String), // by metric: why its value is bad
      windowed: Schema.Record(
        Schema.String,
        Schema.Struct({ fn: Schema.String, windowSeconds: Schema.Int, value: Schema.Json })
      ),
      derived: Schema.Record(
        Schema.String,
        Schema.Struct({ value: Schema.Json, error: Schema.optionalKey(Schema.String) })
      ),
      health: Schema.NullOr(
        Schema.Struct({
          score: Schema.Finite,
          algorithm: Schema.String,
          contributions: Schema.Array(HealthContribution)
        })
      ),
      metrics: values, // what the asset would show of this instant
      quality: Schema.Record(Schema.String, Quality)
    })
  )
}).annotate({ identifier: "TelemetryConfigSteps" })
export type TelemetryConfigSteps = typeof TelemetryConfigSteps.Type

export const TelemetryConfigPreview = Schema.Struct({
  config: tried.config,
  assetId: AssetId, // whose links and history are taken
  startTime: Schema.optionalKey(InstantFromIso), // 24 hours ago
  endTime: Schema.optionalKey(InstantFromIso) // now; at most 31 days later
}).annotate({ identifier: "TelemetryConfigPreview" })
export type TelemetryConfigPreview = typeof TelemetryConfigPreview.Type

const lines = HttpApiSchema.StreamUint8Array({ contentType: "application/x-ndjson" })

export class AssetTelemetryApi extends HttpApiGroup.make("assetTelemetry")
  .add(
    HttpApiEndpoint.get("assetHistory", "/telemetry/asset/:id", {
      params: idParams,
      query: HistoryQuery.fields,
      success: [AssetHistory, HttpApiSchema.StreamUint8Array({ contentType: "text/csv" })],
      error: [InvalidRequest, NotFound]
    })
      .annotate(RequiredPermission, "telemetry:read")
      .annotate(OpenApi.Summary, "What an asset came to, by instant or in buckets of time")
      .annotate(OpenApi.Description, "As for a device. health_score is a metric like the others, in percent."),
    HttpApiEndpoint.get("assetLatest", "/telemetry/asset/:id/latest", {
      params: idParams,
      success: AssetLatest,
      error: NotFound
    })
      .annotate(RequiredPermission, "telemetry:read")
      .annotate(OpenApi.Summary, "The latest value of every metric of an asset"),
    HttpApiEndpoint.get("assetHealth", "/assets/:id/health", {
      params: idParams,
      query: AssetHealthQuery.fields,
      success: AssetHealth,
      error: [InvalidRequest, NotFound]
    })
      .annotate(RequiredPermission, "assets:read")
      .annotate(OpenApi.Summary, "An asset's health, what it is made of, and how it was"),
    HttpApiEndpoint.post("tryTelemetryConfig", "/asset-types/:id/telemetry-config/test", {
      params: idParams,
      payload: TelemetryConfigTrial,
      success: TelemetryConfigSteps,
      error: [NotFound, Unprocessable]
    })
      .annotate(RequiredPermission, "asset-types:read")
      .annotate(OpenApi.Summary, "What readings of a device would become, step by step; nothing is stored"),
    HttpApiEndpoint.post("previewTelemetryConfig", "/asset-types/:id/telemetry-config/preview", {
      params: idParams,
      payload: TelemetryConfigPreview,
      success: lines,
      error: [InvalidRequest, NotFound, Unprocessable]
    })
      .annotate(RequiredPermission, "asset-types:read")
      .annotate(OpenApi.Summary, "What an asset's history would have been; nothing is stored")
      .annotate(
        OpenApi.Description,
        "One JSON object a line, in the order of time: { timestamp, metrics, quality, health }. Ends after 100,000 readings " +
          "of devices, with a last line { truncated: true }. Children's readings take no part."
      )
  )
  .prefix("/api/v1")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
