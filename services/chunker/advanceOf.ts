/**
 * What the chunker tells of a group's transaction.
 * @module
 */
import { idOf, type TenantGroup } from "@argusiq/layers/telemetry/Chunks.ts"
import { type TransactionAdvance } from "@argusiq/layers/telemetry/Transactions.ts"

/** Of one that is open or complete; that one has failed is told with the reason. */
export const advanceOf = ({ group, tenantId }: TenantGroup): TransactionAdvance => ({
  id: idOf(group),
  tenantId,
  gatewayId: group.gatewayId,
  correlationId: group.correlationId,
  generation: group.generation,
  chunkCount: group.total,
  startedAt: group.startedAt,
  status: group.state === "open" ? "pending" : "processing"
})
