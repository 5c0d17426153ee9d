/**
 * Device types: all that decides what a device's message becomes, as users write it (camelCase, stored as jsonb).
 * @module
 */
import { Schema } from "effect"
import { ProcessingMode } from "./envelope.ts"
import { DeviceId, DeviceTypeId, Instant, MetricKey, metricMap, orElse, TenantId } from "./ids.ts"
import { ProtocolAdapter } from "./protocol/adapter.ts"
import { Metrics } from "./readings.ts"

export const ExtractionRule = Schema.Struct({
  path: Schema.Union([Schema.NonEmptyString, Schema.NonEmptyArray(Schema.NonEmptyString)]), // alternatives: first present wins
  type: Schema.Literals(["numeric", "text", "boolean", "json"]),
  unit: Schema.optionalKey(Schema.String), // UCUM
  required: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(orElse(false))),
  scale: Schema.optionalKey(Schema.Finite), // value × scale + offset, then min and max
  offset: Schema.optionalKey(Schema.Finite),
  min: Schema.optionalKey(Schema.Finite),
  max: Schema.optionalKey(Schema.Finite)
})
export const TimestampRule = Schema.Struct({
  path: Schema.NonEmptyArray(Schema.NonEmptyString).pipe(
    Schema.withDecodingDefaultKey(orElse(["$.timestamp", "$.ts"]))
  ),
  format: Schema.Literals(["auto", "iso8601", "s", "ms", "us", "ns"]).pipe(
    Schema.withDecodingDefaultKey(orElse("auto"))
  ),
  maxAheadSeconds: Schema.Int.pipe(Schema.withDecodingDefaultKey(orElse(60))), // beyond either: quality uncertain
  maxBehindSeconds: Schema.Int.pipe(Schema.withDecodingDefaultKey(orElse(31_536_000)))
})
export const Transformation = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("unit"), metricKey: MetricKey, to: Schema.String }),
  Schema.Struct({
    kind: Schema.Literal("expression"),
    metricKey: MetricKey,
    expression: Schema.String,
    unit: Schema.optionalKey(Schema.String)
  })
])
export const GatewayDemux = Schema.Struct({
  childDevicesPath: Schema.NonEmptyString, // "$.devices"
  childDeviceIdPath: Schema.NonEmptyString, // "$.beaconId", within the child
  childTimestampPath: Schema.optionalKey(Schema.NonEmptyString),
  autoCreateChildren: Schema.Boolean,
  childDeviceTypeId: DeviceTypeId,
  maxChildren: Schema.Int.pipe(Schema.withDecodingDefaultKey(orElse(10_000)))
})
export const PortDemux = Schema.Struct({
  portsPath: Schema.NonEmptyString, // an array of ports, or an object whose keys are the ports
  portNumberPath: Schema.optionalKey(Schema.NonEmptyString) // within the port; history key `port{n}.{metric}`
})
export const DemuxStrategy = Schema.Union([GatewayDemux, PortDemux])
export const ChunkingConfig = Schema.Struct({
  correlationIdPath: Schema.String.pipe(Schema.withDecodingDefaultKey(orElse("$.correlationId"))),
  sequencePath: Schema.String.pipe(Schema.withDecodingDefaultKey(orElse("$.seq"))), // 1..total
  totalPath: Schema.String.pipe(Schema.withDecodingDefaultKey(orElse("$.total"))),
  dataPath: Schema.String.pipe(Schema.withDecodingDefaultKey(orElse("$.data"))),
  timeoutSeconds: Schema.Int.pipe(Schema.withDecodingDefaultKey(orElse(60))), // of partition time, from the first chunk's received-at
  merge: Schema.Literals(["objects", "arrays", "text"]).pipe(Schema.withDecodingDefaultKey(orElse("objects"))),
  maxTotal: Schema.Int.pipe(Schema.withDecodingDefaultKey(orElse(1_000)))
})
/** device_type_versions.config: all that decides what a message becomes, so that a version is the whole truth. */
export const DeviceTypeConfig = Schema.Struct({
  processingMode: ProcessingMode,
  protocolAdapter: ProtocolAdapter.pipe(Schema.withDecodingDefaultKey(orElse("json"))),
  messageSchema: Schema.optionalKey(Schema.JsonObject), // `pattern` is hostile too: contained as expressions are
  extractionRules: metricMap(ExtractionRule).pipe(Schema.withDecodingDefaultKey(orElse({}))), // none: each scalar under `metrics`, else at the top
  timestamp: TimestampRule.pipe(Schema.withDecodingDefaultKey(orElse({}))),
  transformationRules: Schema.Array(Transformation).pipe(Schema.withDecodingDefaultKey(orElse([]))), // in order
  demuxStrategy: Schema.optionalKey(DemuxStrategy),
  chunkingConfig: Schema.optionalKey(ChunkingConfig),
  offlineAfterSeconds: Schema.Int.pipe(Schema.withDecodingDefaultKey(orElse(300))),
  rateLimitPerMinute: Schema.optionalKey(Schema.Int), // HTTP only; 0 = off
  testVectors: Schema.Array(
    Schema.Struct({ name: Schema.String, payload: Schema.Json, expected: Schema.Array(Metrics) })
  ).pipe(Schema.withDecodingDefaultKey(orElse([])))
})
export type DeviceTypeConfig = typeof DeviceTypeConfig.Type
/** Cached under device:profile:{id}, with the change sequence it was read at; configurations under device-type:profile:{id}. */
export const DeviceProfile = Schema.Struct({
  deviceId: DeviceId,
  tenantId: TenantId,
  deviceTypeId: DeviceTypeId,
  status: Schema.Literals(["active", "inactive", "decommissioned"]),
  parentDeviceId: Schema.optionalKey(DeviceId),
  logicalIdentifier: Schema.optionalKey(Schema.String),
  sequence: Schema.Int
})
/** The published versions that a message within the horizon of retention can need, oldest first. */
export const DeviceTypeProfile = Schema.Struct({
  deviceTypeId: DeviceTypeId,
  versions: Schema.NonEmptyArray(Schema.Struct({ number: Schema.Int, effectiveAt: Instant, config: DeviceTypeConfig })),
  sequence: Schema.Int
})
export type DeviceProfile = typeof DeviceProfile.Type
