/**
 * Messages of gateways as they are read: opened, with the children that they list and the rules for those.
 * @module
 */
import type { CompiledDeviceType } from "@argusiq/domain/compiled-device-type.ts"
import {
  type Demultiplexed,
  demultiplex,
  gatewayLimits,
  identifiersOf,
  onlyEntry
} from "@argusiq/domain/demultiplex.ts"
import type { GatewayDemux } from "@argusiq/domain/device-type.ts"
import { Poison } from "@argusiq/domain/errors.ts"
import type { Instant } from "@argusiq/domain/ids.ts"
import { openPayload } from "@argusiq/domain/normalize.ts"
import { correlationIdOf, logicalDevicesIn } from "@argusiq/domain/transactions.ts"
import type { StoredRecord } from "@argusiq/layers/bus/Bus.ts"
import type { DeviceTypeVersions } from "@argusiq/layers/profiles/Profiles.ts"
import { compiledVersion, stampOf } from "@argusiq/layers/profiles/stampedVersions.ts"
import { Result } from "effect"

export interface GatewayMessage {
  readonly record: StoredRecord
  readonly tenantId: string
  readonly gatewayId: string
  readonly receivedAt: Instant
  readonly configAt: Instant // which configuration applies
  readonly correlationId: string
  readonly logicalDevices: number // of the whole message, also in a retry of one entry
  readonly strategy: typeof GatewayDemux.Type
  readonly demultiplexed: Demultiplexed
}

/** The entry that a retry is limited to. */
export const retriedEntry = ({ headers }: StoredRecord): number | undefined =>
  headers["retry-entry"] === undefined ? undefined : Number(headers["retry-entry"])

const cannotSplit = (deviceTypeId: string, number: number, what: string): Result.Result<never, Poison> =>
  Result.fail(
    new Poison({
      reason: "UnknownProcessingMode",
      message: `Version ${number} of device type ${deviceTypeId} does not say where ${what} are: add a demuxStrategy, then retry.`,
      path: "$.demuxStrategy"
    })
  )

export const openGatewayMessage = (
  record: StoredRecord,
  types: ReadonlyMap<string, DeviceTypeVersions>
): Result.Result<GatewayMessage, Poison> => {
  const stamp = stampOf(record)
  const version = compiledVersion(stamp, types)
  if (Result.isFailure(version)) return Result.fail(version.failure)
  const compiled = version.success
  const { demultiplexer } = compiled
  const strategy = gatewayStrategy(compiled)
  if (demultiplexer === undefined || strategy === undefined) {
    return cannotSplit(stamp.deviceTypeId, stamp.number, "a gateway's children")
  }
  const opened = openPayload(compiled, record.value, gatewayLimits)
  if (Result.isFailure(opened)) return Result.fail(opened.failure)
  const { root } = opened.success
  return Result.map(demultiplex(demultiplexer, root), (all) => {
    const { headers } = record
    const receivedAt = Number(headers["received-at"])
    return {
      record,
      tenantId: headers["tenant-id"]!,
      gatewayId: headers["device-id"]!,
      receivedAt,
      configAt: Number(headers["config-at"] ?? receivedAt),
      correlationId: correlationIdOf(compiled, root, headers["message-id"]!),
      logicalDevices: logicalDevicesIn(all),
      strategy,
      demultiplexed: onlyEntry(all, retriedEntry(record))
    }
  })
}

const gatewayStrategy = ({ config }: CompiledDeviceType) =>
  config.demuxStrategy !== undefined && "childDevicesPath" in config.demuxStrategy ? config.demuxStrategy : undefined

/** The children that several messages of one gateway name. */
export const identifiersIn = (messages: ReadonlyArray<GatewayMessage>): ReadonlySet<string> =>
  identifiersOf(messages.map(({ demultiplexed }) => demultiplexed))
