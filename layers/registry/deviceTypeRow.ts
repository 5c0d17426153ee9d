/**
 * Rows of `device_types` and `device_type_versions` as REST shows them.
 * @module
 */
import { DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { type DeviceType, type DeviceTypeSummary, type DeviceTypeVersion } from "@argusiq/domain/http/device-types.ts"
import { type DeviceTypeId, type TenantId } from "@argusiq/domain/ids.ts"
import { Schema } from "effect"
import { isoOrNull } from "./deviceRow.ts"

export interface DeviceTypeRow {
  readonly id: DeviceTypeId
  readonly tenant_id: TenantId
  readonly name: string
  readonly description: string
  readonly icon: string | null
  readonly protocol: string | null
  readonly published_version: number | null
  readonly created_at: Date
  readonly updated_at: Date
  readonly version: number
  readonly config: unknown
  readonly draft: unknown
  readonly sorted: string
}
export interface VersionRow {
  readonly number: number
  readonly state: DeviceTypeVersion["state"]
  readonly effective_at: Date | null
  readonly config: unknown
  readonly note: string
  readonly author: string | null
  readonly created_at: Date
}

/** A configuration as it is stored: what was left out is written down, so that a later default changes no version. */
export const encodeConfig = Schema.encodeSync(DeviceTypeConfig)
export const decodeConfig = Schema.decodeUnknownSync(DeviceTypeConfig)
const configOrNull = (config: unknown) => (config === null ? null : decodeConfig(config))

export const toSummary = (row: DeviceTypeRow): DeviceTypeSummary => ({
  id: row.id,
  organizationId: row.tenant_id,
  name: row.name,
  description: row.description,
  icon: row.icon,
  protocol: row.protocol,
  processingMode: configOrNull(row.config)?.processingMode ?? null,
  publishedVersion: row.published_version,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
  version: row.version
})

export const toDeviceType = (row: DeviceTypeRow): DeviceType => ({
  ...toSummary(row),
  config: configOrNull(row.config),
  draft: configOrNull(row.draft)
})

export const toVersion = (row: VersionRow): DeviceTypeVersion => ({
  number: row.number,
  state: row.state,
  effectiveAt: isoOrNull(row.effective_at),
  config: decodeConfig(row.config),
  note: row.note,
  author: row.author,
  createdAt: row.created_at.toISOString()
})
