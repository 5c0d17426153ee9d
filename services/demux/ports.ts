/**
 * Messages of devices with several ports: every port under the device's own id and type.
 * @module
 */
import { type FailedEntry, gatewayLimits, onlyEntry } from "@argusiq/domain/demultiplex.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import type { DeviceId, DeviceTypeId } from "@argusiq/domain/ids.ts"
import { openPayload } from "@argusiq/domain/normalize.ts"
import type { LogicalDevices } from "@argusiq/domain/readings.ts"
import { portDevices, splitPorts } from "@argusiq/domain/rtu.ts"
import type { StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import type { DeviceTypeVersions } from "@argusiq/layers/profiles/Profiles.ts"
import { compiledVersion, stampOf } from "@argusiq/layers/profiles/stampedVersions.ts"
import { Result } from "effect"
import { retriedEntry } from "./gatewayMessages.ts"

export interface SplitMessage {
  readonly value: LogicalDevices
  readonly failed: ReadonlyArray<FailedEntry>
}

export const splitPortsMessage = (
  record: StoredRecord,
  types: ReadonlyMap<string, DeviceTypeVersions>
): Result.Result<SplitMessage, Poison> => {
  const stamp = stampOf(record)
  const compiled = compiledVersion(stamp, types)
  if (Result.isFailure(compiled)) return Result.fail(compiled.failure)
  const { portSplitter } = compiled.success
  if (portSplitter === undefined) {
    const message = `Version ${stamp.number} of device type ${stamp.deviceTypeId} is none of a device with several ports.`
    return Result.fail(new Poison({ reason: "UnknownProcessingMode", message }))
  }
  const opened = openPayload(compiled.success, record.value, gatewayLimits)
  if (Result.isFailure(opened)) return Result.fail(opened.failure)
  return Result.map(splitPorts(portSplitter, opened.success.root), (all) => {
    const split = onlyEntry(all, retriedEntry(record))
    const { headers } = record
    const device = {
      deviceId: headers["device-id"] as DeviceId,
      deviceTypeId: stamp.deviceTypeId as DeviceTypeId,
      typeVersion: stamp.number
    }
    return { value: portDevices(split, headers["message-id"]!, device), failed: split.failed }
  })
}
