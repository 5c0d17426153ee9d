/**
 * The versions of device types that are stamped on records and entries.
 * @module
 */
import { type CompiledDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import { Effect, Result } from "effect"
import { type DeviceTypeVersions, type Profiles } from "./Profiles.ts"

export interface VersionKey {
  readonly deviceTypeId: string
  readonly number: number
}

/** What the dispatcher has stamped on a record. */
export const stampOf = ({ headers }: { readonly headers: Readonly<Record<string, string>> }): VersionKey => ({
  deviceTypeId: headers["device-type-id"] ?? "",
  number: Number(headers["type-version"])
})

const versionOf = ({ deviceTypeId, number }: VersionKey, types: ReadonlyMap<string, DeviceTypeVersions>) =>
  types.get(deviceTypeId)?.versions.find((version) => version.number === number)

/** The version ready for use, or why it cannot be used. */
export const compiledVersion = (
  key: VersionKey,
  types: ReadonlyMap<string, DeviceTypeVersions>
): Result.Result<CompiledDeviceType, Poison> =>
  versionOf(key, types)?.compiled ??
  Result.fail(
    new Poison({
      reason: "UnknownProcessingMode",
      message:
        `Version ${key.number} of device type ${key.deviceTypeId} is not published: ` +
        "it was deleted after the message had been dispatched"
    })
  )

/** The types of all these versions. A stamped version that is not known is asked for once more, past the cache. */
export const typesOfVersions = Effect.fnUntraced(function* (
  profiles: (typeof Profiles)["Service"],
  keys: ReadonlyArray<VersionKey>
) {
  const ids = new Set(keys.flatMap(({ deviceTypeId }) => (deviceTypeId === "" ? [] : [deviceTypeId])))
  const types = yield* profiles.deviceTypes(ids)
  const outdated = new Set(
    keys.flatMap((key) => (key.deviceTypeId !== "" && versionOf(key, types) === undefined ? [key.deviceTypeId] : []))
  )
  if (outdated.size === 0) return types
  for (const id of outdated) yield* profiles.invalidate({ type: "device-type", id })
  return yield* profiles.deviceTypes(ids)
})
