/**
 * What the profile cache asks PostgreSQL: many keys with one statement, each row with the change sequence of the snapshot
 * it was read in.
 * @module
 */
import { type DeviceProfile } from "@argusiq/domain/device-type.ts"
import { isUuid } from "@argusiq/domain/uuid.ts"
import { type PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { type ApiKeyOwner, type CertificateOwner, type ChildProfile } from "./Profiles.ts"
import { type StoredDeviceType, type StoredVersion } from "./StoredProfiles.ts"

/** What belongs to a device, with the number of the last change that it can have seen. */
export interface OwnedByDevice {
  readonly deviceId: string
  readonly sequence: number
}
export interface ApiKeyEntry extends ApiKeyOwner, OwnedByDevice {
  /** Epoch milliseconds; undefined: never. */
  readonly expiresAt: number | undefined
}

export interface CertificateEntry extends CertificateOwner, OwnedByDevice {}
/** Until when a device is certified, in epoch milliseconds. */
export interface CertifiedEntry extends OwnedByDevice {
  readonly until: number
}

/** The cache key of an external id. A tenant id is a UUID, so its length tells where the external id begins. */
export const externalIdKey = (tenantId: string, externalId: string) => tenantId + externalId
const TENANT_ID_LENGTH = 36

/** The cache key of a gateway's child: two UUIDs, then its logical identifier. */
export const childKey = (tenantId: string, gatewayId: string, identifier: string) => tenantId + gatewayId + identifier
const GATEWAY_END = 2 * TENANT_ID_LENGTH

export const makeProfileQueries = (sql: PgClient.PgClient) => {
  const sequence = sql.literal("(select number from change_sequence where scope = 'profiles')::float8")

  const devices = Effect.fnUntraced(function* (ids: ReadonlyArray<string>) {
    const rows = yield* sql<{
      id: string
      tenant_id: string
      device_type_id: string
      status: DeviceProfile["status"]
      parent_device_id: string | null
      logical_identifier: string | null
      sequence: number
    }>`select id, tenant_id, device_type_id, status, parent_device_id, logical_identifier, ${sequence} as sequence
      from devices where id = any(${ids.filter(isUuid)}::text[]::uuid[])`
    return new Map(
      rows.map((row) => [
        row.id,
        {
          deviceId: row.id,
          tenantId: row.tenant_id,
          deviceTypeId: row.device_type_id,
          status: row.status,
          ...(row.parent_device_id !== null && { parentDeviceId: row.parent_device_id }),
          ...(row.logical_identifier !== null && { logicalIdentifier: row.logical_identifier }),
          sequence: row.sequence
        } as DeviceProfile
      ])
    )
  })

  const deviceTypes = Effect.fnUntraced(function* (ids: ReadonlyArray<string>) {
    const rows = yield* sql<{
      device_type_id: string
      number: number
      effective_at: number
      config: unknown
      sequence: number
    }>`select device_type_id, number, extract(epoch from effective_at)::float8 as effective_at, config,
        ${sequence} as sequence
      from device_type_versions
      where state = 'published' and device_type_id = any(${ids.filter(isUuid)}::text[]::uuid[])
      order by device_type_id, effective_at, number`
    const types = new Map<string, StoredDeviceType & { readonly versions: Array<StoredVersion> }>()
    for (const row of rows) {
      const deviceTypeId = row.device_type_id
      let type = types.get(deviceTypeId)
      if (type === undefined) types.set(deviceTypeId, (type = { deviceTypeId, versions: [], sequence: row.sequence }))
      type.versions.push({
        number: row.number,
        effectiveAt: Math.round(row.effective_at * 1_000_000),
        config: row.config
      })
    }
    return types
  })

  const externalIds = Effect.fnUntraced(function* (keys: ReadonlyArray<string>) {
    const asked = keys.filter((key) => isUuid(key.slice(0, TENANT_ID_LENGTH)) && !key.includes("\0"))
    const rows = yield* sql<{ id: string; tenant_id: string; external_id: string; sequence: number }>`
      select devices.id, devices.tenant_id, devices.external_id, ${sequence} as sequence
      from unnest(${asked.map((key) => key.slice(0, TENANT_ID_LENGTH))}::text[]::uuid[],
        ${asked.map((key) => key.slice(TENANT_ID_LENGTH).toWellFormed())}::text[]) as asked (tenant_id, external_id)
      join devices on devices.tenant_id = asked.tenant_id and devices.external_id = asked.external_id`
    return new Map(
      rows.map((row): [string, OwnedByDevice] => [
        externalIdKey(row.tenant_id, row.external_id),
        { deviceId: row.id, sequence: row.sequence }
      ])
    )
  })

  const children = Effect.fnUntraced(function* (keys: ReadonlyArray<string>) {
    const asked = keys.filter(
      (key) =>
        isUuid(key.slice(0, TENANT_ID_LENGTH)) &&
        isUuid(key.slice(TENANT_ID_LENGTH, GATEWAY_END)) &&
        !key.includes("\0")
    )
    const rows = yield* sql<{
      id: string
      tenant_id: string
      parent_device_id: string
      logical_identifier: string
      device_type_id: string
      status: DeviceProfile["status"]
      sequence: number
    }>`select devices.id, devices.tenant_id, devices.parent_device_id, devices.logical_identifier, devices.device_type_id,
        devices.status, ${sequence} as sequence
      from unnest(${asked.map((key) => key.slice(0, TENANT_ID_LENGTH))}::text[]::uuid[],
        ${asked.map((key) => key.slice(TENANT_ID_LENGTH, GATEWAY_END))}::text[]::uuid[],
        ${asked.map((key) => key.slice(GATEWAY_END).toWellFormed())}::text[]) as asked (tenant_id, gateway_id, identifier)
      join devices on devices.tenant_id = asked.tenant_id and devices.parent_device_id = asked.gateway_id
        and devices.logical_identifier = asked.identifier`
    return new Map(
      rows.map((row): [string, ChildProfile] => [
        childKey(row.tenant_id, row.parent_device_id, row.logical_identifier),
        { deviceId: row.id, deviceTypeId: row.device_type_id, status: row.status, sequence: row.sequence }
      ])
    )
  })

  const apiKeys = Effect.fnUntraced(function* (hashes: ReadonlyArray<string>) {
    const rows = yield* sql<{
      id: string
      key_hash: string
      device_id: string
      tenant_id: string
      expires_at: number | null
      sequence: number
    }>`select key.id, key_hash, device_id, tenant_id, extract(epoch from expires_at)::float8 as expires_at,
        ${sequence} as sequence
      from device_api_keys key join organizations on organizations.id = tenant_id and organizations.status = 'active'
      where revoked_at is null and key_hash = any(${hashes.filter((hash) => !hash.includes("\0"))}::text[])`
    return new Map(
      rows.map((row): [string, ApiKeyEntry] => [
        row.key_hash,
        {
          keyId: row.id,
          deviceId: row.device_id,
          tenantId: row.tenant_id,
          expiresAt: row.expires_at === null ? undefined : row.expires_at * 1000,
          sequence: row.sequence
        }
      ])
    )
  })

  const certificates = Effect.fnUntraced(function* (fingerprints: ReadonlyArray<string>) {
    const rows = yield* sql<{
      id: string
      fingerprint: string
      device_id: string
      tenant_id: string
      accepted_until: number
      revoked: boolean
      used: boolean
      sequence: number
    }>`select id, fingerprint, device_id, tenant_id, extract(epoch from accepted_until)::float8 as accepted_until,
        revoked_at is not null as revoked, first_used_at is not null as used, ${sequence} as sequence
      from device_certificates where fingerprint = any(${fingerprints.filter((one) => !one.includes("\0"))}::text[])`
    return new Map(
      rows.map(({ accepted_until, device_id, fingerprint, id, tenant_id, ...row }): [string, CertificateEntry] => [
        fingerprint,
        { ...row, certificateId: id, deviceId: device_id, tenantId: tenant_id, acceptedUntil: accepted_until * 1000 }
      ])
    )
  })

  const certified = Effect.fnUntraced(function* (ids: ReadonlyArray<string>) {
    const rows = yield* sql<{ device_id: string; until: number; sequence: number }>`
      select device_id, extract(epoch from max(accepted_until))::float8 as until, ${sequence} as sequence
      from device_certificates
      where revoked_at is null and device_id = any(${ids.filter(isUuid)}::text[]::uuid[])
      group by device_id`
    return new Map(
      rows.map(({ device_id, sequence, until }): [string, CertifiedEntry] => [
        device_id,
        { deviceId: device_id, until: until * 1000, sequence }
      ])
    )
  })

  return { devices, deviceTypes, externalIds, children, apiKeys, certificates, certified }
}
