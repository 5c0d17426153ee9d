/**
 * What the hot path knows of devices and device types: bounded in memory, filled from PostgreSQL by one load for many
 * waiters, kept true by pushed invalidation and by the change sequence that is checked every 500 ms.
 * @module
 */
import type { CompiledDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import type { KnownCertificate } from "@argusiq/domain/certificate.ts"
import type { DeviceProfile } from "@argusiq/domain/device-type.ts"
import type { CacheUnavailable, DatabaseUnavailable, Poison } from "@argusiq/domain/errors.ts"
import { Context, type Effect, type Result } from "effect"

/**
 * A published version as the pipeline uses it: compiled once when loaded. `effectiveAt` in epoch microseconds. A failure
 * is what becomes of its messages when this release cannot use the version, as one stored by another release.
 */
export interface EffectiveVersion {
  readonly number: number
  readonly effectiveAt: number
  readonly compiled: Result.Result<CompiledDeviceType, Poison>
}

/** A device type's published versions, oldest first, never empty. `sequence`: the last change it can have seen. */
export interface DeviceTypeVersions {
  readonly deviceTypeId: string
  readonly versions: ReadonlyArray<EffectiveVersion>
  readonly sequence: number
}

/** What a device API key (by its SHA-256, hex) belongs to. Revoked and expired keys are absent. */
export interface ApiKeyOwner {
  readonly keyId: string
  readonly deviceId: string
  readonly tenantId: string
}

/** A certificate that the installation issued, the revoked among them. */
export interface CertificateOwner extends KnownCertificate {
  readonly certificateId: string
  /** A device has logged in with it before, as far as is known here. */
  readonly used: boolean
}

/** A device behind a gateway. `sequence`: the last change it can have seen. */
export interface ChildProfile {
  readonly deviceId: string
  readonly deviceTypeId: string
  readonly status: DeviceProfile["status"]
  readonly sequence: number
}

/** Which children of a gateway are asked for, by their logical identifiers. */
export interface ChildrenOf {
  readonly tenantId: string
  readonly gatewayId: string
  readonly identifiers: Iterable<string>
}

export class Profiles extends Context.Service<
  Profiles,
  {
    /** What is in memory, without an Effect: for the hot path of the bridge, which goes on with it while PostgreSQL is away. */
    cachedDevice(deviceId: string): DeviceProfile | undefined
    /** Ids without an entry in the result do not exist: PostgreSQL said so after the call, at most 5 s before it while very many
     * absent ids are asked for. Fails when the change sequence cannot be checked: what is in memory may be outdated then. */
    devices(
      deviceIds: Iterable<string>
    ): Effect.Effect<ReadonlyMap<string, DeviceProfile>, CacheUnavailable | DatabaseUnavailable>
    deviceTypes(
      deviceTypeIds: Iterable<string>
    ): Effect.Effect<ReadonlyMap<string, DeviceTypeVersions>, CacheUnavailable | DatabaseUnavailable>
    /** The device id for an external id within a tenant. What is in memory is answered also while PostgreSQL is away. */
    byExternalId(
      tenantId: string,
      externalId: string
    ): Effect.Effect<string | undefined, CacheUnavailable | DatabaseUnavailable>
    /** The children by gateway and logical identifier. One without an entry does not stand behind that gateway: absence is
     * never remembered, PostgreSQL has just said so. Fails as `devices` does. */
    children(
      asked: Iterable<ChildrenOf>
    ): Effect.Effect<ReadonlyMap<string, ReadonlyMap<string, ChildProfile>>, CacheUnavailable | DatabaseUnavailable>
    /** As `byExternalId`, by the SHA-256 of the key, hex. */
    apiKey(keyHash: string): Effect.Effect<ApiKeyOwner | undefined, CacheUnavailable | DatabaseUnavailable>
    /** As `byExternalId`, by the SHA-256 of the certificate, hex. */
    certificate(
      fingerprint: string
    ): Effect.Effect<CertificateOwner | undefined, CacheUnavailable | DatabaseUnavailable>
    /** Whether a certificate lets the device in at this moment: it has one that is neither revoked nor at its end. */
    isCertified(deviceId: string): Effect.Effect<boolean, CacheUnavailable | DatabaseUnavailable>
    /** Pushed invalidation, also reachable through the API. */
    invalidate(
      what: { readonly type: "device" | "device-type"; readonly id: string } | { readonly type: "all" }
    ): Effect.Effect<void, CacheUnavailable>
  }
>()("argusiq/layers/profiles/Profiles") {}
