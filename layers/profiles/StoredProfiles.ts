/**
 * Profiles as they are stored, in PostgreSQL and in the cache that processes share; what a process uses is made of them.
 * @module
 */
import { type CompiledDeviceType, compileDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import { DeviceProfile, DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import { Result, Schema } from "effect"
import { type DeviceTypeVersions } from "./Profiles.ts"

/** `effectiveAt` in epoch microseconds. `config` is what somebody has published, whatever this release makes of it. */
const StoredVersion = Schema.Struct({ number: Schema.Int, effectiveAt: Schema.Int, config: Schema.Unknown })
export type StoredVersion = typeof StoredVersion.Type

/** A device type's published versions, oldest first. */
const StoredDeviceType = Schema.Struct({
  deviceTypeId: Schema.String,
  versions: Schema.Array(StoredVersion),
  sequence: Schema.Int
})
export type StoredDeviceType = typeof StoredDeviceType.Type

/** None: written by another release in another form. */
export const decodeDevice = Schema.decodeUnknownOption(Schema.fromJsonString(DeviceProfile))
export const decodeDeviceType = Schema.decodeUnknownOption(Schema.fromJsonString(StoredDeviceType))

const decodeConfig = Schema.decodeUnknownResult(DeviceTypeConfig)

const compileVersion = (
  deviceTypeId: string,
  number: number,
  config: unknown
): Result.Result<CompiledDeviceType, Poison> => {
  const refuse = (error: { readonly message: string }) =>
    new Poison({
      reason: "UnknownProcessingMode",
      message: `This release cannot use version ${number} of device type ${deviceTypeId}: ${error.message}`
    })
  const decoded = decodeConfig(config)
  if (Result.isFailure(decoded)) return Result.fail(refuse(decoded.failure))
  return Result.mapError(compileDeviceType(decoded.success), refuse)
}

export const compileVersions = ({ deviceTypeId, sequence, versions }: StoredDeviceType): DeviceTypeVersions => ({
  deviceTypeId,
  sequence,
  versions: versions.map(({ config, effectiveAt, number }) => ({
    number,
    effectiveAt,
    compiled: compileVersion(deviceTypeId, number, config)
  }))
})
