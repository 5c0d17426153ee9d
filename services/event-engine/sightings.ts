/**
 * Whom a message tells to be alive: the device that sent it and, of a gateway, the devices whose readings it brings.
 * @module
 */
import { onlyDeviceOf } from "@argusiq/domain/envelope.ts"
import { parseNormalized } from "@argusiq/domain/record-json.ts"
import type { Poison } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import type { StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import { Result } from "effect"
import type { Addressed } from "./Fleet.ts"

export interface Sighting {
  readonly device: Addressed
  readonly at: Instant
}

/** A replay or a retry tells of the past. */
export const isOfNow = ({ headers }: StoredRecord): boolean =>
  headers["replay-job"] === undefined && headers["retry-of"] === undefined

/**
 * Calls `see` for each, and gives back why the record cannot be read. It is opened only where it may bring readings of others
 * than its sender.
 */
export const eachSighting = (
  record: StoredRecord,
  see: (deviceId: string, tenantId: string, deviceTypeId: string, at: Instant) => void
): Poison | undefined => {
  const { headers, key } = record
  const at = Number(headers["received-at"])
  const tenantId = headers["tenant-id"]
  if (!isOfNow(record) || tenantId === undefined || !Number.isSafeInteger(at)) return undefined
  const sender = headers["device-id"] ?? key
  see(sender, tenantId, headers["device-type-id"] ?? "", at)
  if (onlyDeviceOf(headers) !== undefined) return undefined
  const message = parseNormalized(record)
  if (Result.isFailure(message)) return message.failure
  for (const { deviceId, deviceTypeId } of message.success.readings) {
    if (deviceId !== sender) see(deviceId, tenantId, deviceTypeId, at)
  }
  return undefined
}
