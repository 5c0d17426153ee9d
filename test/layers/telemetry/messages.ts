/**
 * Normalized messages for tests of what stores them.
 * @module
 */
import type { NormalizedMessage } from "@argusiq/domain/readings.ts"
import { randomUUID } from "node:crypto"

export interface MessageOptions {
  readonly deviceId: string
  readonly tenantId: string
  /** Epoch microseconds; `ts` is the same where it is left out. */
  readonly receivedAt: number
  readonly ts?: number
  readonly metrics?: object
  readonly quality?: object
  readonly metadata?: object
  readonly clock?: "ahead" | "behind"
  readonly messageId?: string
  readonly readingId?: string
}

export const normalizedMessage = (options: MessageOptions): NormalizedMessage => {
  const { clock, deviceId, metadata, quality, receivedAt, tenantId } = options
  const message = {
    messageId: options.messageId ?? randomUUID(),
    tenantId,
    deviceId,
    receivedAt,
    readings: [
      {
        readingId: options.readingId ?? randomUUID(),
        deviceId,
        ts: options.ts ?? receivedAt,
        ...(clock !== undefined && { clock }),
        deviceTypeId: "5f0e8f0e-0000-4000-8000-000000000001",
        typeVersion: 1,
        metrics: options.metrics ?? { temperature: 21.5 },
        ...(quality !== undefined && { quality }),
        ...(metadata !== undefined && { metadata })
      }
    ]
  }
  return message as unknown as NormalizedMessage // ids are branded; what is stored is what the pipeline's JSON holds
}
