/**
 * The chunks of one message put together, in the order of their sequence numbers.
 *
 * The whole has the form of a chunk: that of the first one, with the data of all at the data's path. So the paths of the
 * demultiplexing strategy and of the timestamp are those that one reads off a chunk (`$.data.devices`, `$.timestamp`).
 * @module
 */
import { Result } from "effect"
import { MAX_PAYLOAD_BYTES } from "./bridge.ts"
import { type CompiledChunking } from "./chunks.ts"
import { gatewayLimits } from "./demultiplex.ts"
import { Poison } from "./errors.ts"
import { decodeJson } from "./scan.ts"

const contradiction = (message: string, path: string): Result.Result<never, Poison> =>
  Result.fail(new Poison({ reason: "ChunkContradiction", message, path }))

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value)

/** Adds an object's keys to another: arrays concatenate, objects merge, of other values the later one stays. */
const mergeInto = (
  target: Record<string, unknown>,
  source: Record<string, unknown>,
  path: string
): string | undefined => {
  for (const key of Object.keys(source)) {
    if (key === "__proto__") continue
    const after = source[key]
    const before = Object.hasOwn(target, key) ? target[key] : undefined
    if (before === undefined || before === null) target[key] = after
    else if (Array.isArray(before) && Array.isArray(after)) for (const item of after) before.push(item)
    else if (isObject(before) && isObject(after)) {
      const clash = mergeInto(before, after, `${path}.${key}`)
      if (clash !== undefined) return clash
    } else if (typeof before === "object" || (typeof after === "object" && after !== null)) return `${path}.${key}`
    else if (after !== null) target[key] = after
  }
  return undefined
}

/** One chunk's data, by a message's rule of merging: its kind, or what it is instead. */
const kindOf = (value: unknown): string =>
  value === undefined
    ? "nothing"
    : Array.isArray(value)
      ? "an array"
      : isObject(value)
        ? "an object"
        : "a " + typeof value

const expectedKind = { objects: "an object", arrays: "an array", text: "a string" } as const

const mergeObjects = (data: ReadonlyArray<unknown>, path: string): Result.Result<unknown, Poison> => {
  const merged: Record<string, unknown> = {}
  for (const [index, part] of data.entries()) {
    const clash = mergeInto(merged, part as Record<string, unknown>, path)
    if (clash === undefined) continue
    return contradiction(`Chunk ${index + 1} has another kind of value at ${clash} than those before it.`, clash)
  }
  return Result.succeed(merged)
}

const encoder = new TextEncoder()

const mergeData = (
  { config: { dataPath, merge } }: CompiledChunking,
  data: ReadonlyArray<unknown>
): Result.Result<unknown, Poison> => {
  const expected = expectedKind[merge]
  const other = data.findIndex((part) => kindOf(part) !== expected)
  if (other >= 0) {
    const why = `Chunk ${other + 1} has ${kindOf(data[other])} at ${dataPath} where ${expected} is expected.`
    return contradiction(why, dataPath)
  }
  switch (merge) {
    case "objects":
      return mergeObjects(data, dataPath)
    case "arrays":
      return Result.succeed(data.flat(1))
    case "text":
      return decodeJson(encoder.encode(data.join("")), gatewayLimits)
  }
}

/** A copy of the first chunk with the data of all; where the data is the chunk itself, the data. */
const placed = (first: unknown, names: ReadonlyArray<string>, data: unknown): unknown => {
  const [name, ...inner] = names
  if (name === undefined) return data
  if (Array.isArray(first))
    return first.map((item, index) => (String(index) === name ? placed(item, inner, data) : item))
  return { ...(first as Record<string, unknown>), [name]: placed(Reflect.get(first as object, name), inner, data) }
}

/**
 * The payload of the whole, from the payloads of its chunks 1 to total, JSON each. Pure: the same chunks give the same bytes,
 * and so the same readings. Poison is that of the whole group: each chunk by itself was readable when it was collected.
 */
export const reassemble = (
  chunking: CompiledChunking,
  payloads: ReadonlyArray<Uint8Array>
): Result.Result<Uint8Array, Poison> => {
  const roots: Array<unknown> = []
  for (const payload of payloads) {
    const decoded = decodeJson(payload)
    if (Result.isFailure(decoded)) return Result.fail(decoded.failure)
    roots.push(decoded.success)
  }
  const merged = mergeData(chunking, roots.map(chunking.readData))
  if (Result.isFailure(merged)) return Result.fail(merged.failure)
  const whole = encoder.encode(JSON.stringify(placed(roots[0], chunking.dataNames, merged.success)))
  if (whole.byteLength <= MAX_PAYLOAD_BYTES) return Result.succeed(whole)
  const message = `The chunks together give ${whole.byteLength} bytes, more than ${MAX_PAYLOAD_BYTES}. Send less in one message.`
  return Result.fail(new Poison({ reason: "PayloadTooLarge", message, limit: MAX_PAYLOAD_BYTES }))
}
