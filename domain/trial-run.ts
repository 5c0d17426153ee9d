/**
 * The whole pipeline on one payload, without a bus, a database or a device: decode, put together, split, extract.
 * @module
 */
import { Result } from "effect"
import { collectChunk, type Chunk, type ChunkGroup, digestOf } from "./chunks.ts"
import { type CompiledDeviceType } from "./compiled-device-type.ts"
import { childDeviceId, demultiplex, gatewayLimits, resolveChildren } from "./demultiplex.ts"
import { Poison } from "./errors.ts"
import { type DeviceTypeId, type Instant } from "./ids.ts"
import { type Normalized, normalizeEndpoint, openPayload } from "./normalize.ts"
import { normalizeEntries } from "./normalize-entries.ts"
import { type AliasTable } from "./protocol/decoder.ts"
import { type LogicalDevices } from "./readings.ts"
import { reassemble } from "./reassemble.ts"
import { portDevices, splitPorts } from "./rtu.ts"

const nobody = "00000000-0000-0000-0000-000000000000"
const noType = nobody as DeviceTypeId
const encoder = new TextEncoder()

const isBytes = (value: unknown, key: "hex" | "base64"): value is Record<typeof key, string> =>
  typeof value === "object" &&
  value !== null &&
  Object.keys(value).length === 1 &&
  typeof Reflect.get(value, key) === "string"

/**
 * The bytes that a payload written as JSON stands for: `{ "hex": "…" }` and `{ "base64": "…" }` are those bytes, and for every
 * adapter but `json` text is its UTF-8; anything else is sent as JSON.
 */
export const trialBytes = (compiled: CompiledDeviceType, payload: unknown): Uint8Array => {
  if (compiled.config.protocolAdapter !== "json") {
    if (isBytes(payload, "hex")) return Buffer.from(payload.hex.replaceAll(/\s/g, ""), "hex")
    if (isBytes(payload, "base64")) return Buffer.from(payload.base64, "base64")
    if (typeof payload === "string") return encoder.encode(payload)
  }
  return encoder.encode(JSON.stringify(payload))
}

/** What chunks in any order give together, or why they give nothing. */
const wholeOf = (
  compiled: CompiledDeviceType,
  chunks: ReadonlyArray<unknown>,
  receivedAt: Instant
): Result.Result<Uint8Array, Poison> => {
  const chunking = compiled.chunking!
  const payloads: Array<Uint8Array> = []
  let group: ChunkGroup | undefined
  for (const one of chunks) {
    const payload = trialBytes(compiled, one)
    const opened = openPayload(compiled, payload)
    if (Result.isFailure(opened)) return Result.fail(opened.failure)
    const head = chunking.readHead(opened.success.root)
    if (Result.isFailure(head)) return Result.fail(head.failure)
    const chunk: Chunk = { ...head.success, digest: digestOf(payload), bytes: payload.byteLength, receivedAt }
    const { timeoutSeconds } = chunking.config
    const where = { gatewayId: nobody, latest: group, openGroups: 0, partitionTime: receivedAt, timeoutSeconds }
    const collected = collectChunk(where, chunk)
    if (collected._tag === "Refused") return Result.fail(collected.error)
    if (collected._tag === "Redelivered") continue
    group = collected.group
    payloads[chunk.sequence - 1] = payload
    if (collected.whole) return reassemble(chunking, payloads)
  }
  const found = group?.chunks.size ?? 0
  const message = `${found} of ${group?.total ?? 0} chunks are there: give all of them.`
  return Result.fail(new Poison({ reason: "ChunkTimeout", message }))
}

/** The entries of a message that is split, undefined for an endpoint's. */
const entriesOf = (compiled: CompiledDeviceType, root: unknown): Result.Result<LogicalDevices, Poison> | undefined => {
  const device = { deviceId: childDeviceId(nobody, nobody, ""), deviceTypeId: noType, typeVersion: 0 }
  if (compiled.portSplitter !== undefined) {
    const split = splitPorts(compiled.portSplitter, root)
    if (Result.isFailure(split)) return Result.fail(split.failure)
    const [first] = split.success.failed
    return first === undefined ? Result.succeed(portDevices(split.success, "", device)) : Result.fail(first.error)
  }
  if (compiled.demultiplexer === undefined) return undefined
  const split = demultiplex(compiled.demultiplexer, root)
  if (Result.isFailure(split)) return Result.fail(split.failure)
  const { failed, value } = resolveChildren(split.success, "", (identifier) => ({
    ...device,
    deviceId: childDeviceId(nobody, nobody, identifier)
  }))
  return failed[0] === undefined ? Result.succeed(value) : Result.fail(failed[0].error)
}

const runOne = (
  compiled: CompiledDeviceType,
  payload: Uint8Array,
  receivedAt: Instant,
  childType: CompiledDeviceType | undefined,
  aliases: AliasTable | undefined
): Result.Result<Normalized, Poison> => {
  const ids = { messageId: nobody, tenantId: nobody, deviceId: nobody, receivedAt }
  const isSplit = compiled.portSplitter !== undefined || compiled.demultiplexer !== undefined
  if (!isSplit) {
    return normalizeEndpoint({
      ...ids,
      compiled,
      typeVersion: 0,
      deviceTypeId: nobody,
      contentType: "application/json",
      payload,
      ...(aliases !== undefined && { aliases })
    })
  }
  const opened = openPayload(compiled, payload, gatewayLimits, aliases)
  if (Result.isFailure(opened)) return Result.fail(opened.failure)
  const value = entriesOf(compiled, opened.success.root)!
  if (Result.isFailure(value)) return Result.fail(value.failure)
  const type = compiled.portSplitter === undefined ? childType : compiled
  const { failed, message, skipped } = normalizeEntries({
    ...ids,
    value: value.success,
    typeOf: () => type ?? new Poison({ reason: "UnknownChildDevice", message: "The children have no device type." })
  })
  const left = opened.success.aliases
  return failed[0] === undefined
    ? Result.succeed({ message, skipped, ...(left !== undefined && { aliases: left }) })
    : Result.fail(failed[0].error)
}

/**
 * What a payload becomes. Of a chunked gateway an array is its chunks, of a stateful adapter an array is the device's messages in
 * order; their readings come together. One entry that fails is the failure of all: a trial is to show it.
 * @param childType of a gateway: what its children's entries are read with
 */
export const runPayload = (
  compiled: CompiledDeviceType,
  payload: unknown,
  receivedAt: Instant,
  childType?: CompiledDeviceType
): Result.Result<Normalized, Poison> => {
  if (compiled.chunking !== undefined && Array.isArray(payload)) {
    const whole = wholeOf(compiled, payload, receivedAt)
    return Result.flatMap(whole, (bytes) => runOne(compiled, bytes, receivedAt, childType, undefined))
  }
  if (!compiled.decoder.stateful || !Array.isArray(payload)) {
    return runOne(compiled, trialBytes(compiled, payload), receivedAt, childType, undefined)
  }
  let together: Normalized | undefined
  for (const one of payload) {
    const result = runOne(compiled, trialBytes(compiled, one), receivedAt, childType, together?.aliases)
    if (Result.isFailure(result)) return result
    const { message, skipped } = result.success
    together = {
      ...result.success,
      skipped: (together?.skipped ?? 0) + skipped,
      message: { ...message, readings: [...(together?.message.readings ?? []), ...message.readings] }
    }
  }
  if (together !== undefined) return Result.succeed(together)
  return Result.fail(new Poison({ reason: "Undecodable", message: "There is no message in the array.", offset: 0 }))
}
