/**
 * Transactions: what became of each message of a gateway, from its first chunk to its stored readings.
 * @module
 */
import { Result } from "effect"
import { type CompiledDeviceType } from "./compiled-device-type.ts"
import { MAX_CORRELATION_UNITS } from "./chunks.ts"
import { type Demultiplexed } from "./demultiplex.ts"
import { type NormalizedMessage } from "./readings.ts"
import { isMetricKey } from "./storable.ts"

/**
 * In the order in which a transaction moves, never back. What has failed can still be completed: by a retry, once its cause is
 * put right.
 */
export const transactionStatuses = ["pending", "processing", "failed", "completed"] as const
export type TransactionStatus = (typeof transactionStatuses)[number]

/**
 * The name that the gateway gave to its message: what its type says that chunks are told by, else `correlationId`. The
 * message id where it gave none, or none that can be stored.
 */
export const correlationIdOf = (compiled: CompiledDeviceType, root: unknown, messageId: string): string => {
  const head = compiled.chunking?.readHead(root)
  if (head !== undefined && Result.isSuccess(head)) return head.success.correlationId
  const sent =
    typeof root === "object" && root !== null && Object.hasOwn(root, "correlationId")
      ? Reflect.get(root, "correlationId")
      : undefined
  if (typeof sent === "number" && Number.isSafeInteger(sent)) return String(sent)
  return typeof sent === "string" && sent.length <= MAX_CORRELATION_UNITS && isMetricKey(sent) ? sent : messageId
}

/** How many different devices a gateway's message tells of; an entry that names none counts as one. */
export const logicalDevicesIn = ({ entries, failed }: Demultiplexed): number => {
  const identifiers = new Set<string>()
  for (const { identifier } of entries) identifiers.add(identifier)
  return identifiers.size + failed.length
}

/** Whether it is the message of a gateway, which has a transaction; a device's own ports have none. */
export const isGatewayMessage = ({ correlationId, readings }: NormalizedMessage): boolean =>
  correlationId !== undefined && (readings.length === 0 || readings[0]?.sourceGatewayId !== undefined)
