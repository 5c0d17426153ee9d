/**
 * From payload bytes to a JSON value: bounded in depth and keys before anything is built from it.
 * @module
 */
import { Result } from "effect"
import { Poison } from "./errors.ts"
import { jsonErrorOffset, utf8ErrorOffset } from "./json-syntax.ts"

export interface StructureLimits {
  readonly depth: number
  readonly keys: number // of all objects together, repeated keys counted each time
}
export const structureLimits: StructureLimits = { depth: 64, keys: 10_000 }

const QUOTE = 34
const BACKSLASH = 92

/**
 * Counts brackets and colons outside of strings, in one pass over the bytes. Of valid JSON it knows depth and keys exactly;
 * other bytes pass or fail as they may, since parsing refuses them anyway.
 */
export const checkStructure = (
  bytes: Uint8Array,
  limits: StructureLimits = structureLimits
): "PayloadTooDeep" | "TooManyMetrics" | undefined => {
  const end = bytes.length
  const { depth: maxDepth, keys: maxKeys } = limits
  let depth = 0
  let keys = 0
  for (let at = 0; at < end; at++) {
    const byte = bytes[at]!
    if (byte === QUOTE) {
      at++
      for (let inside = bytes[at]; at < end && inside !== QUOTE; inside = bytes[++at]) if (inside === BACKSLASH) at++
    } else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > maxDepth) return "PayloadTooDeep"
    } else if (byte === 0x7d || byte === 0x5d) depth--
    else if (byte === 0x3a && ++keys > maxKeys) return "TooManyMetrics"
  }
  return undefined
}

const utf8 = new TextDecoder("utf-8", { fatal: true }) // skips a byte order mark

/** The value of a JSON text, undefined (which is no JSON value) when it is none. */
const parse = (text: string): unknown => {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

const nonFinite = /-?\b(?:NaN|Infinity)\b/g

/**
 * Writes the numbers that JSON cannot write, as Python's and JavaScript's careless encoders do, so that JSON.parse reads
 * them as an infinity: the metric is skipped then, and not its whole message lost.
 */
const withNonFinite = (text: string): string => {
  const written: Array<string> = []
  let at = 0
  while (at < text.length) {
    const quote = text.indexOf('"', at)
    const outside = text.slice(at, quote < 0 ? text.length : quote)
    written.push(outside.replace(nonFinite, (token) => (token.startsWith("-") ? "-1e999" : "1e999")))
    if (quote < 0) break
    at = quote + 1
    while (at < text.length && text[at] !== '"') at += text[at] === "\\" ? 2 : 1
    at++
    written.push(text.slice(quote, at))
  }
  return written.join("")
}

const undecodable = (message: string, offset: number): Result.Result<never, Poison> =>
  Result.fail(new Poison({ reason: "Undecodable", message: `${message} at byte ${offset}.`, offset }))

/**
 * The JSON value of a payload. Of duplicate keys the last wins; a byte order mark is skipped; `NaN` and `Infinity` without
 * quotes are read as infinite numbers.
 */
export const decodeJson = (
  bytes: Uint8Array,
  limits: StructureLimits = structureLimits
): Result.Result<unknown, Poison> => {
  const excess = checkStructure(bytes, limits)
  if (excess !== undefined) {
    const [limit, what] = excess === "PayloadTooDeep" ? [limits.depth, "levels of nesting"] : [limits.keys, "keys"]
    return Result.fail(new Poison({ reason: excess, message: `The payload has more than ${limit} ${what}.`, limit }))
  }
  let text: string
  try {
    text = utf8.decode(bytes)
  } catch {
    return undecodable("The payload is not UTF-8", utf8ErrorOffset(bytes) ?? 0)
  }
  const value = parse(text)
  if (value !== undefined) return Result.succeed(value)
  if (/\b(?:NaN|Infinity)\b/.test(text)) {
    const lenient = parse(withNonFinite(text))
    if (lenient !== undefined) return Result.succeed(lenient)
  }
  const offset = jsonErrorOffset(bytes) ?? 0
  const what = offset >= bytes.length ? "The payload ends before its JSON does" : "The payload is not JSON"
  return undecodable(what, offset)
}
