/**
 * What was measured: history and latest values.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { DeviceId, MetricKey } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { MetricValue, Quality } from "../readings.ts"
import { InvalidRequest, NotFound } from "./problems.ts"
import { Cursor, idParams, InstantFromIso, IsoInstant, limit } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

export const Aggregation = Schema.Literals(["none", "1m", "5m", "1h", "1d"])
export type Aggregation = typeof Aggregation.Type
/** `avg`, `min`, `max`, `sum` are of numbers (true counts 1, false 0); `count`, `first`, `last` of values of any type. */
export const AggregationFunction = Schema.Literals(["avg", "min", "max", "sum", "count", "first", "last"])
export type AggregationFunction = typeof AggregationFunction.Type

/** One measured value, or one bucket's; a bucket's timestamp is its beginning. Quality is given for measured values. */
export const DataPoint = Schema.Struct({
  timestamp: IsoInstant,
  value: MetricValue,
  quality: Schema.optionalKey(Quality)
}).annotate({ identifier: "DataPoint" })
export type DataPoint = typeof DataPoint.Type

export const HistoryQuery = Schema.Struct({
  metricKey: Schema.optionalKey(Schema.Union([MetricKey, Schema.Array(MetricKey).check(Schema.isMaxLength(100))])), // all of them when absent
  startTime: Schema.optionalKey(InstantFromIso), // 24 hours ago; included
  endTime: Schema.optionalKey(InstantFromIso), // now; excluded
  aggregation: Schema.optionalKey(Aggregation), // none
  fn: Schema.optionalKey(AggregationFunction), // avg
  order: Schema.optionalKey(Schema.Literals(["asc", "desc"])), // by time; asc
  limit: Schema.optionalKey(limit(10_000)), // readings or buckets; 1,000
  cursor: Schema.optionalKey(Cursor)
})
export type HistoryQuery = typeof HistoryQuery.Type

const page = {
  deviceId: DeviceId,
  aggregation: Aggregation,
  count: Schema.Int, // data points in this answer
  nextCursor: Schema.NullOr(Schema.String)
}
export const DeviceHistory = Schema.Union([
  Schema.Struct({ ...page, metricKey: Schema.String, data: Schema.Array(DataPoint) }),
  Schema.Struct({
    ...page,
    series: Schema.Array(Schema.Struct({ metricKey: Schema.String, data: Schema.Array(DataPoint) }))
  })
]).annotate({ identifier: "DeviceHistory" })
export type DeviceHistory = typeof DeviceHistory.Type

export const DeviceLatest = Schema.Struct({
  deviceId: DeviceId,
  metrics: Schema.Record(
    Schema.String,
    Schema.Struct({
      value: MetricValue,
      timestamp: IsoInstant,
      quality: Quality,
      unit: Schema.NullOr(Schema.String)
    })
  ),
  lastSeen: Schema.NullOr(IsoInstant),
  status: Schema.Literals(["online", "offline", "unknown"])
}).annotate({ identifier: "DeviceLatest" })
export type DeviceLatest = typeof DeviceLatest.Type

export class TelemetryApi extends HttpApiGroup.make("telemetry")
  .add(
    HttpApiEndpoint.get("deviceHistory", "/device/:id", {
      params: idParams,
      query: HistoryQuery.fields,
      success: [DeviceHistory, HttpApiSchema.StreamUint8Array({ contentType: "text/csv" })],
      error: [InvalidRequest, NotFound]
    })
      .annotate(RequiredPermission, "telemetry:read")
      .annotate(OpenApi.Summary, "What a device measured, as measured or in buckets of time")
      .annotate(
        OpenApi.Description,
        "One metricKey answers with data, several (or none, which means all) with series. Values of bad quality take no " +
          "part in aggregations. Buckets of an hour or a day outlive the readings they were made of; where the readings " +
          "are gone, an hour that startTime or endTime cuts in two is answered whole. With Accept: text/csv everything is " +
          "answered, unless there is a limit, as lines of timestamp,metricKey,value,quality (without quality for buckets) " +
          "under that header, in the order of time, compressed with gzip where that is accepted. Text that a spreadsheet " +
          "would take for a formula begins with an apostrophe; objects and arrays are JSON."
      ),
    HttpApiEndpoint.get("deviceLatest", "/device/:id/latest", {
      params: idParams,
      success: DeviceLatest,
      error: NotFound
    })
      .annotate(RequiredPermission, "telemetry:read")
      .annotate(OpenApi.Summary, "The latest value of every metric of a device")
  )
  .prefix("/api/v1/telemetry")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
