/**
 * Where the bytes of a binary payload are: often as text, and within the JSON of a network server that passed them on.
 * @module
 */
import { Result } from "effect"
import { type Poison } from "../errors.ts"
import { type Problem } from "../extract.ts"
import { compilePath } from "../json-path.ts"
import { decodeJson, type StructureLimits } from "../scan.ts"
import { type BytesSource } from "./adapter.ts"
import { undecodable } from "./decoder.ts"

export interface FoundBytes {
  readonly bytes: Uint8Array
  readonly around: unknown // the JSON that they were in; undefined: nothing was around them
}

const hexText = /^(?:[0-9a-f]{2})*$/i
const base64Text = /^(?:[A-Za-z0-9+/_-]{4})*(?:[A-Za-z0-9+/_-]{2}(?:==)?|[A-Za-z0-9+/_-]{3}=?)?$/

const latin1 = new TextDecoder("latin1")

/** The bytes that a text stands for, undefined when it is not of that encoding. Spaces around it do not matter. */
const bytesOf = (text: string, encoding: "hex" | "base64"): Uint8Array | undefined => {
  const trimmed = text.trim()
  return (encoding === "hex" ? hexText : base64Text).test(trimmed) ? Buffer.from(trimmed, encoding) : undefined
}

/** Compiles where bytes are found; what is wrong with it is added to `problems`. */
export const bytesFrom = (
  { encoding, path }: typeof BytesSource.Type,
  problems: Array<Problem>
): ((payload: Uint8Array, limits: StructureLimits) => Result.Result<FoundBytes, Poison>) => {
  if (path === undefined) {
    if (encoding === "raw") return (payload) => Result.succeed({ bytes: payload, around: undefined })
    return (payload) => {
      const bytes = bytesOf(latin1.decode(payload), encoding)
      if (bytes !== undefined) return Result.succeed({ bytes, around: undefined })
      return Result.fail(undecodable(`The payload is no ${encoding} text; it starts`, 0))
    }
  }
  const compiled = compilePath(path)
  const where = "$.protocolAdapter.source"
  if (Result.isFailure(compiled)) problems.push({ path: `${where}.path`, message: compiled.failure })
  if (encoding === "raw") {
    problems.push({ path: `${where}.encoding`, message: "JSON holds no raw bytes: say hex or base64." })
  }
  const textEncoding = encoding === "raw" ? "hex" : encoding
  return (payload, limits) => {
    const decoded = decodeJson(payload, limits)
    if (Result.isFailure(decoded)) return Result.fail(decoded.failure)
    const around = decoded.success
    const text = Result.isSuccess(compiled) ? compiled.success.read(around) : undefined
    const bytes = typeof text === "string" ? bytesOf(text, textEncoding) : undefined
    if (bytes !== undefined) return Result.succeed({ bytes, around })
    return Result.fail(undecodable(`There is no ${encoding} text at ${path} in the JSON that starts`, 0, path))
  }
}

/** What was read from the bytes as a document: by itself, or as `decoded` beside what was around them. */
export const withDecoded = ({ around }: FoundBytes, values: unknown): unknown =>
  typeof around === "object" && around !== null && !Array.isArray(around) ? { ...around, decoded: values } : values
