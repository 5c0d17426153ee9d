/**
 * Rows of `asset_types` and `asset_type_versions` as REST shows them.
 * @module
 */
import { AssetTypeConfig } from "@argusiq/domain/asset/asset-type.ts"
import { type AssetType, type AssetTypeVersion } from "@argusiq/domain/http/asset-types.ts"
import { faultPath } from "@argusiq/domain/http/fault-path.ts"
import { type AssetTypeId, type TenantId } from "@argusiq/domain/ids.ts"
import { Effect, Result, Schema, SchemaIssue } from "effect"
import { isoOrNull } from "./deviceRow.ts"
import { NotValid } from "./refusals.ts"

export interface AssetTypeRow {
  readonly id: AssetTypeId
  readonly tenant_id: TenantId
  readonly name: string
  readonly description: string
  readonly category: string | null
  readonly icon: string | null
  readonly color: string | null
  readonly parent_type_id: AssetTypeId | null
  readonly custom_fields: AssetType["customFields"]
  readonly dashboard: AssetType["dashboard"]
  readonly published_version: number | null
  readonly has_draft: boolean
  readonly created_at: Date
  readonly updated_at: Date
  readonly version: number
  readonly sorted: string
}
export interface AssetTypeVersionRow {
  readonly number: number
  readonly state: AssetTypeVersion["state"]
  readonly effective_at: Date | null
  readonly config: unknown
  readonly resolved: unknown
  readonly note: string
  readonly author: string | null
  readonly created_at: Date
}

/** A configuration as it is stored: what was left out is written down, so that a later default changes no version. */
export const encodeConfig = Schema.encodeSync(AssetTypeConfig)
export const decodeConfig = Schema.decodeUnknownSync(AssetTypeConfig)

const decodeWritten = Schema.decodeUnknownResult(AssetTypeConfig, { errors: "all" })
const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

/** What somebody has written, as a configuration. */
export const readConfig = (written: unknown): Effect.Effect<AssetTypeConfig, NotValid> => {
  const decoded = decodeWritten(written)
  if (Result.isSuccess(decoded)) return Effect.succeed(decoded.success)
  const { issues } = formatIssues(decoded.failure.issue)
  return Effect.fail(
    new NotValid({ faults: issues.map(({ message, path = [] }) => ({ path: faultPath(path), message })) })
  )
}

export const toAssetType = (row: AssetTypeRow): AssetType => ({
  id: row.id,
  organizationId: row.tenant_id,
  name: row.name,
  description: row.description,
  category: row.category,
  icon: row.icon,
  color: row.color,
  parentTypeId: row.parent_type_id,
  customFields: row.custom_fields,
  dashboard: row.dashboard,
  publishedVersion: row.published_version,
  hasDraft: row.has_draft,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
  version: row.version
})

export const toVersion = (row: AssetTypeVersionRow): AssetTypeVersion => ({
  number: row.number,
  state: row.state,
  effectiveAt: isoOrNull(row.effective_at),
  config: decodeConfig(row.config),
  note: row.note,
  author: row.author,
  createdAt: row.created_at.toISOString()
})
