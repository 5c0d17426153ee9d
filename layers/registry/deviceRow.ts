/**
 * A row of `devices` with what is known of it elsewhere, as the device that REST shows.
 * @module
 */
import { type Device } from "@argusiq/domain/http/devices.ts"
import { type ProcessingMode } from "@argusiq/domain/envelope.ts"
import { type DeviceId, type DeviceTypeId, type TenantId } from "@argusiq/domain/ids.ts"

export interface DeviceRow {
  readonly id: DeviceId
  readonly name: string
  readonly tenant_id: TenantId
  readonly device_type_id: DeviceTypeId
  readonly external_id: string | null
  readonly serial_number: string | null
  readonly parent_device_id: DeviceId | null
  readonly logical_identifier: string | null
  readonly status: Device["status"]
  readonly protocol: string | null
  readonly network_metadata: Device["networkMetadata"]
  readonly custom_attributes: Device["customAttributes"]
  readonly created_at: Date
  readonly updated_at: Date
  readonly version: number
  readonly connectivity: Device["connectivityStatus"] | null
  readonly last_connectivity_change: Date | null
  readonly last_seen_at: Date | null
  readonly processing_mode: ProcessingMode | null
  readonly linked_assets_count: number
  readonly sorted: string
}

const roles: Readonly<Record<ProcessingMode, NonNullable<Device["deviceRole"]>>> = {
  endpoint: "endpoint",
  gateway: "gateway",
  gateway_chunked: "gateway",
  rtu_multiport: "rtu"
}

export const isoOrNull = (date: Date | null): string | null => (date === null ? null : date.toISOString())

export const toDevice = (row: DeviceRow): Device => ({
  id: row.id,
  name: row.name,
  organizationId: row.tenant_id,
  deviceTypeId: row.device_type_id,
  externalId: row.external_id,
  serialNumber: row.serial_number,
  parentDeviceId: row.parent_device_id,
  logicalIdentifier: row.logical_identifier,
  deviceRole: row.processing_mode === null ? null : roles[row.processing_mode],
  status: row.status,
  connectivityStatus: row.connectivity ?? "unknown",
  lastConnectivityChange: isoOrNull(row.last_connectivity_change),
  lastSeenAt: isoOrNull(row.last_seen_at),
  linkedAssetsCount: row.linked_assets_count,
  protocol: row.protocol,
  networkMetadata: row.network_metadata,
  customAttributes: row.custom_attributes,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
  version: row.version
})
