/**
 * Reprocessing: what a device sent becomes readings once more, under a chosen version of its type. The functions are those of
 * the pipeline, run one after another over one message, so that the outcome is what the pipeline would have given.
 * @module
 */
import { Result, Schema } from "effect"
import { type CompiledDeviceType } from "./compiled-device-type.ts"
import { type Demultiplexed, demultiplex, gatewayLimits, resolveChildren, type ResolvedChild } from "./demultiplex.ts"
import { Poison } from "./errors.ts"
import { type Evaluate } from "./expression/expression.ts"
import { DeviceTypeId, Instant } from "./ids.ts"
import { normalizeEndpoint, openPayload } from "./normalize.ts"
import { normalizeEntries } from "./normalize-entries.ts"
import { type AliasTable } from "./protocol/decoder.ts"
import { type LogicalDevices, type NormalizedMessage } from "./readings.ts"
import { portDevices, splitPorts } from "./rtu.ts"
import { correlationIdOf } from "./transactions.ts"

/** What a reprocess job was asked for: the messages received from `from` up to but not including `to`. */
export const ReprocessParameters = Schema.Struct({
  deviceTypeId: DeviceTypeId,
  from: Instant,
  to: Instant,
  version: Schema.Int, // of the type
  asOf: Instant // of other types that take part, the version effective then: gateways and their children go together
})
export type ReprocessParameters = typeof ReprocessParameters.Type

/** A message, or the whole of a chunked one, with its sender's configuration. Ids are trusted. */
export interface SentMessage {
  readonly messageId: string
  readonly tenantId: string
  readonly deviceId: string
  readonly receivedAt: Instant
  readonly contentType: string
  readonly payload: Uint8Array
  readonly deviceTypeId: string
  readonly typeVersion: number
  readonly compiled: CompiledDeviceType
  readonly evaluate?: Evaluate // absent: only what runs in process
}

export type Opened =
  /** Complete; entries that failed are counted. */
  | { readonly _tag: "Normalized"; readonly message: NormalizedMessage; readonly failed: number }
  /** Of a gateway: its children have to be looked up before {@link normalizeChildren}. */
  | { readonly _tag: "Children"; readonly children: Demultiplexed; readonly correlationId: string }

/** A message with what the device's next one is decoded with, where its adapter is stateful. */
export interface OpenedWithAliases {
  readonly opened: Opened
  readonly aliases?: AliasTable
}

/** An entry's version as it is looked up: by type and number. */
export type TypeOf = (deviceTypeId: string, version: number) => CompiledDeviceType | Poison

const noStrategy = (mode: string) =>
  new Poison({
    reason: "UnknownProcessingMode",
    message: `The version has no strategy to split messages of the mode ${mode}: publish one that has, then reprocess with it.`
  })

const normalized = (sent: SentMessage, value: LogicalDevices, typeOf: TypeOf) => {
  const { deviceId, evaluate, messageId, receivedAt, tenantId } = sent
  const { failed, message } = normalizeEntries({
    value,
    messageId,
    tenantId,
    deviceId,
    receivedAt,
    typeOf,
    ...(evaluate !== undefined && { evaluate })
  })
  return { _tag: "Normalized", message, failed: failed.length } as const
}

/**
 * What a message comes to under its sender's version. Chunks have to be put together before.
 * @param aliases of an endpoint with a stateful adapter: what the device's payload before left
 */
export const openMessage = (sent: SentMessage, aliases?: AliasTable): Result.Result<OpenedWithAliases, Poison> => {
  const { compiled, deviceTypeId, messageId, payload, typeVersion } = sent
  const { processingMode } = compiled.config
  if (processingMode === "endpoint") {
    return Result.map(normalizeEndpoint({ ...sent, ...(aliases !== undefined && { aliases }) }), (result) => ({
      opened: { _tag: "Normalized", message: result.message, failed: 0 },
      ...(result.aliases !== undefined && { aliases: result.aliases })
    }))
  }
  const decoded = openPayload(compiled, payload, gatewayLimits)
  if (Result.isFailure(decoded)) return Result.fail(decoded.failure)
  const { root } = decoded.success
  if (processingMode === "rtu_multiport") {
    if (compiled.portSplitter === undefined) return Result.fail(noStrategy(processingMode))
    return Result.map(splitPorts(compiled.portSplitter, root), (split) => {
      const device = { deviceId: sent.deviceId, deviceTypeId, typeVersion } as ResolvedChild
      const opened = normalized(sent, portDevices(split, messageId, device), () => compiled)
      return { opened: { ...opened, failed: opened.failed + split.failed.length } }
    })
  }
  if (compiled.demultiplexer === undefined) return Result.fail(noStrategy(processingMode))
  return Result.map(demultiplex(compiled.demultiplexer, root), (children) => ({
    opened: { _tag: "Children", children, correlationId: correlationIdOf(compiled, root, messageId) }
  }))
}

/** The readings of a gateway's children, once they are known. */
export const normalizeChildren = (
  sent: SentMessage,
  { children, correlationId }: Opened & { readonly _tag: "Children" },
  childOf: (identifier: string) => ResolvedChild | Poison,
  typeOf: TypeOf
): Opened & { readonly _tag: "Normalized" } => {
  const { failed, value } = resolveChildren(children, correlationId, childOf)
  const opened = normalized(sent, value, typeOf)
  return { ...opened, failed: opened.failed + failed.length }
}
