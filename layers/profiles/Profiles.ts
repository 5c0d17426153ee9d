/**
 * What the hot path knows of devices and device types: bounded in memory, filled from PostgreSQL by one load for many
 * waiters, kept true by pushed invalidation and by the change sequence that is checked every 500 ms.
 * @module
 */
import type { CompiledDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import type { DeviceProfile } from "@argusiq/domain/device-type.ts"
import type { CacheUnavailable, DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { Context, type Effect } from "effect"

/** A published version as the pipeline uses it: compiled once when loaded. `effectiveAt` in epoch microseconds. */
export interface EffectiveVersion {
  readonly number: number
  readonly effectiveAt: number
  readonly compiled: CompiledDeviceType
}

/** A device type's published versions, oldest first, never empty. */
export interface DeviceTypeVersions {
  readonly deviceTypeId: string
  readonly versions: ReadonlyArray<EffectiveVersion>
}

/** What a device API key (by its SHA-256, hex) belongs to. Revoked and expired keys are absent. */
export interface ApiKeyOwner {
  readonly keyId: string
  readonly deviceId: string
  readonly tenantId: string
}

export class Profiles extends Context.Service<
  Profiles,
  {
    /** What is in memory and may be trusted at this moment, without an Effect: for the hot path. */
    cachedDevice(deviceId: string): DeviceProfile | undefined
    /** Ids without an entry in the result do not exist (checked in PostgreSQL, at most 5 s ago when merely unknown). */
    devices(
      deviceIds: Iterable<string>
    ): Effect.Effect<ReadonlyMap<string, DeviceProfile>, CacheUnavailable | DatabaseUnavailable>
    deviceTypes(
      deviceTypeIds: Iterable<string>
    ): Effect.Effect<ReadonlyMap<string, DeviceTypeVersions>, CacheUnavailable | DatabaseUnavailable>
    /** The device id for an external id within a tenant. */
    byExternalId(
      tenantId: string,
      externalId: string
    ): Effect.Effect<string | undefined, CacheUnavailable | DatabaseUnavailable>
    apiKey(keyHash: string): Effect.Effect<ApiKeyOwner | undefined, CacheUnavailable | DatabaseUnavailable>
    /** Pushed invalidation, also reachable through the API. */
    invalidate(
      what: { readonly type: "device" | "device-type"; readonly id: string } | { readonly type: "all" }
    ): Effect.Effect<void, CacheUnavailable>
  }
>()("argusiq/layers/profiles/Profiles") {}
