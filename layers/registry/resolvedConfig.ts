/**
 * What a configuration refers to beside itself: the converter that its adapter names, and the type of a gateway's children.
 * @module
 */
import { type CompiledDeviceType, compileDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import { type DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { type ConfigurationFault } from "@argusiq/domain/device-type-trial.ts"
import { compileConverter } from "@argusiq/domain/protocol/converter.ts"
import { type PgClient } from "@effect/sql-pg"
import { Effect, Result, Schema } from "effect"
import { decodeConfig } from "./deviceTypeRow.ts"
import { contentOfRow, type ConverterRow } from "./protocolConverterRow.ts"

/** The configuration cannot be published; every reason with its path. */
export class NotPublishable extends Schema.TaggedError<NotPublishable>()("NotPublishable", {
  faults: Schema.Array(Schema.Struct({ path: Schema.String, message: Schema.String }))
}) {}

export interface ResolvedConfig {
  /** With a copy of the converter, so that it says by itself what becomes of a message. */
  readonly config: DeviceTypeConfig
  /** Of a gateway: the version of its children's type in force. */
  readonly childType: CompiledDeviceType | undefined
}

/** What people write: a copy of a converter is taken when a version is published, and not from anybody. */
export const withoutCopy = (config: DeviceTypeConfig): DeviceTypeConfig => {
  const adapter = config.protocolAdapter
  if (typeof adapter === "string" || !("converterId" in adapter)) return config
  return { ...config, protocolAdapter: { converterId: adapter.converterId } }
}

const refuse = (...faults: ReadonlyArray<ConfigurationFault>) => Effect.fail(new NotPublishable({ faults }))

/** Reads in the transaction of the tenant that it is in. A copy that a configuration has already is kept. */
export const resolveConfig = Effect.fnUntraced(function* (sql: PgClient.PgClient, config: DeviceTypeConfig) {
  const adapter = config.protocolAdapter
  const childType = yield* childTypeOf(sql, config)
  if (typeof adapter === "string" || !("converterId" in adapter) || adapter.copy !== undefined) {
    return { config, childType } satisfies ResolvedConfig
  }
  const { converterId } = adapter
  const path = "config.protocolAdapter.converterId"
  const [row] =
    yield* sql<ConverterRow>`select *, '' as sorted from protocol_converters where id = ${converterId}::uuid`
  if (row === undefined) return yield* refuse({ path, message: "does not exist in this organization" })
  if (!row.is_active) {
    return yield* refuse({ path, message: `names the converter "${row.name}", which is not active: activate it` })
  }
  const compiled = compileConverter(contentOfRow(row), row.version)
  if (Result.isFailure(compiled)) {
    const faults = compiled.failure.map((fault) => ({ path: `converter.${fault.path}`, message: fault.message }))
    return yield* refuse(...faults)
  }
  const resolved: DeviceTypeConfig = { ...config, protocolAdapter: { converterId, copy: compiled.success.copy } }
  return { config: resolved, childType } satisfies ResolvedConfig
})

/** Undefined also for children whose type has no version that this release can use. */
const childTypeOf = Effect.fnUntraced(function* (sql: PgClient.PgClient, { demuxStrategy }: DeviceTypeConfig) {
  if (demuxStrategy === undefined || !("childDeviceTypeId" in demuxStrategy)) return undefined
  const [row] = yield* sql<{ config: unknown }>`
    select (select config from device_type_versions
      where device_type_id = type.id and state = 'published' and (effective_at <= clock_timestamp() or number = 1)
      order by effective_at desc, number desc limit 1) as config
    from device_types type where type.id = ${demuxStrategy.childDeviceTypeId}::uuid`
  if (row === undefined) {
    const path = "config.demuxStrategy.childDeviceTypeId"
    return yield* refuse({ path, message: "does not exist in this organization" })
  }
  if (row.config === null) return undefined
  return Result.getOrUndefined(compileDeviceType(decodeConfig(row.config)))
})
