/**
 * Rows of `protocol_converters` as REST shows them.
 * @module
 */
import { type ProtocolConverter } from "@argusiq/domain/http/protocol-converters.ts"
import { type TenantId } from "@argusiq/domain/ids.ts"
import { ConverterContent } from "@argusiq/domain/protocol/converter.ts"
import { Schema } from "effect"

export interface ConverterRow {
  readonly id: string
  readonly tenant_id: TenantId
  readonly name: string
  readonly description: string
  readonly source_protocol: string
  readonly target_schema: unknown
  readonly transformation_rules: unknown
  readonly is_active: boolean
  readonly created_at: Date
  readonly updated_at: Date
  readonly version: number
  readonly sorted: string
}

const decodeContent = Schema.decodeUnknownSync(ConverterContent)
/** As it is stored: what was left out is written down, so that a later default changes no converter. */
export const encodeContent = Schema.encodeSync(ConverterContent)

export const contentOfRow = (row: ConverterRow): ConverterContent =>
  decodeContent({
    sourceProtocol: row.source_protocol,
    targetSchema: row.target_schema,
    transformationRules: row.transformation_rules
  })

export const toConverter = (row: ConverterRow): ProtocolConverter => ({
  id: row.id,
  organizationId: row.tenant_id,
  name: row.name,
  description: row.description,
  ...contentOfRow(row),
  isActive: row.is_active,
  createdAt: row.created_at.toISOString(),
  updatedAt: row.updated_at.toISOString(),
  version: row.version
})
