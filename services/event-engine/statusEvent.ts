/**
 * What a change of a device's status is told as.
 * @module
 */
import type { ConnectionState, StatusChange } from "@argusiq/domain/connection-status.ts"
import { uuidV5 } from "@argusiq/domain/uuid.ts"
import type { StatusEvent } from "@argusiq/layers/connectivity/ConnectionStates.ts"

/** For people. */
export const reasonOf = ({ detail, reason }: StatusChange): string =>
  detail === undefined ? reason : `${reason}: ${detail}`

/** The same change has the same id, however often it is found. */
export const statusEvent = (deviceId: string, change: StatusChange, { seenAt }: ConnectionState): StatusEvent => {
  const { at, detail, from, reason, to } = change
  const type = to === "online" ? "DEVICE_ONLINE" : "DEVICE_OFFLINE"
  return {
    id: uuidV5(deviceId, `${type}:${at}`),
    deviceId,
    type,
    severity: to === "online" ? "info" : "warning",
    occurredAt: at,
    payload: {
      from,
      to,
      reason,
      ...(detail !== undefined && { detail }),
      ...(to === "offline" && seenAt !== null && { lastSeenAt: new Date(seenAt / 1000).toISOString() })
    }
  }
}
