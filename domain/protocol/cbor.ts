/**
 * CBOR (RFC 8949) as the JSON that it stands for: byte strings as base64url and bignums as digits (RFC 8949, section 6.1), integer
 * keys as text, undefined as null; a tagged value is its content, but for decimal fractions and big floats, which are numbers.
 *
 * The bytes are walked once before anything is built from them: lengths that exceed the payload, nesting, keys and bytes left
 * over are found there, with their offset. Strings of indefinite length and unassigned simple values are not supported.
 * @module
 */
import { decode } from "cborg"
import { Result } from "effect"
import { type Poison } from "../errors.ts"
import { type StructureLimits } from "../scan.ts"
import { type Decoder, integerOf, put, tooDeep, tooManyKeys, undecodable } from "./decoder.ts"

const BREAK = 0xff

/** Walks the heads of all items in a payload; what it finds wrong ends the walk. */
class Walk {
  at = 0
  keys = 0
  readonly tags = new Set<number>()
  failure: Poison | undefined = undefined
  readonly bytes: Uint8Array
  readonly limits: StructureLimits

  constructor(bytes: Uint8Array, limits: StructureLimits) {
    this.bytes = bytes
    this.limits = limits
  }

  fail(message: string, at: number): false {
    this.failure ??= undecodable(message, at)
    return false
  }

  /** The argument of a head: its value or count; Infinity for an indefinite length, undefined when it cannot be read. */
  argument(minor: number, start: number): number | undefined {
    if (minor < 24) return minor
    if (minor === 31) return Infinity
    const width = minor < 28 ? 1 << (minor - 24) : 0
    if (width === 0 || this.at + width > this.bytes.length) {
      this.fail(width === 0 ? "There is a reserved length" : "The payload ends within the head of an item", start)
      return undefined
    }
    let value = 0
    for (let end = this.at + width; this.at < end; this.at++) value = value * 256 + this.bytes[this.at]!
    return value
  }

  /** One item with all that is in it. */
  item(depth: number): boolean {
    const { bytes, limits } = this
    const start = this.at
    const head = bytes[start]
    if (head === undefined) return this.fail("The payload ends where an item is expected", start)
    this.at++
    const major = head >> 5
    const argument = this.argument(head & 31, start)
    if (argument === undefined) return false
    const left = bytes.length - this.at
    switch (major) {
      case 2:
      case 3:
        if (argument === Infinity)
          return this.fail("There is a string of indefinite length, which is not supported,", start)
        if (argument > left) return this.fail(`A string of ${argument} bytes ends beyond the payload; it starts`, start)
        this.at += argument
        return true
      case 4:
      case 5:
        if (depth >= limits.depth) {
          this.failure ??= tooDeep(limits.depth)
          return false
        }
        if (argument !== Infinity && argument * (major - 3) > left) {
          return this.fail(`${argument} items are announced, more than the payload can hold,`, start)
        }
        return this.items(argument, major === 5, depth + 1)
      case 6:
        // each tag around a value is a level, so that tags of tags cannot nest without end
        if (depth >= limits.depth || argument === Infinity) {
          if (argument === Infinity) return this.fail("There is a tag without a number", start)
          this.failure ??= tooDeep(limits.depth)
          return false
        }
        this.tags.add(argument)
        return this.item(depth + 1)
      case 7:
        return this.simple(head & 31, start)
      default:
        return argument === Infinity ? this.fail("There is an integer of indefinite length", start) : true
    }
  }

  simple(minor: number, start: number): boolean {
    if (minor === 31) return this.fail("There is a break outside of an item of indefinite length", start)
    const known = (minor >= 20 && minor <= 23) || (minor >= 25 && minor <= 27)
    return known || this.fail("There is a simple value that is not assigned,", start)
  }

  items(count: number, isMap: boolean, depth: number): boolean {
    for (let index = 0; index < count; index++) {
      if (count === Infinity && this.bytes[this.at] === BREAK) {
        this.at++
        return true
      }
      if (isMap) {
        if (++this.keys > this.limits.keys) {
          this.failure ??= tooManyKeys(this.limits.keys)
          return false
        }
        const major = (this.bytes[this.at] ?? 0) >> 5
        if (major > 3) return this.fail("The key of a map is neither a number nor a string", this.at)
        if (!this.item(depth)) return false
      }
      if (!this.item(depth)) return false
    }
    return true
  }
}

type TagDecoder = (content: () => unknown) => unknown

const bytesToInteger = (bytes: unknown): bigint =>
  bytes instanceof Uint8Array && bytes.length > 0 && bytes.length <= 64
    ? BigInt(`0x${Buffer.from(bytes).toString("hex")}`)
    : 0n

/** A mantissa and an exponent, as tags 4 and 5 hold them. */
const scaledBy =
  (base: 2 | 10): TagDecoder =>
  (content) => {
    const parts = content()
    if (!Array.isArray(parts) || parts.length !== 2) return null
    const [exponent, mantissa] = [Number(parts[0]), Number(parts[1])]
    return base === 10 ? Number(`${mantissa}e${exponent}`) : mantissa * 2 ** exponent
  }

const contentOf: TagDecoder = (content) => content()

const knownTags: ReadonlyMap<number, TagDecoder> = new Map([
  [2, (content) => bytesToInteger(content())],
  [3, (content) => -1n - bytesToInteger(content())],
  [4, scaledBy(10)],
  [5, scaledBy(2)]
])

const jsonObject = (map: ReadonlyMap<unknown, unknown>): Record<string, unknown> => {
  const object: Record<string, unknown> = {}
  for (const [key, value] of map) {
    const name = key instanceof Uint8Array ? Buffer.from(key).toString("base64url") : String(key)
    put(object, name, toJson(value))
  }
  return object
}

const toJson = (value: unknown): unknown => {
  if (typeof value === "bigint") return integerOf(value)
  if (value === undefined || typeof value !== "object" || value === null) return value ?? null
  if (value instanceof Map) return jsonObject(value)
  if (Array.isArray(value)) return value.map(toJson)
  return value instanceof Uint8Array ? Buffer.from(value).toString("base64url") : null
}

/** The document of one CBOR item that fills the payload. */
export const decodeCbor = (payload: Uint8Array, limits: StructureLimits): Result.Result<unknown, Poison> => {
  const walk = new Walk(payload, limits)
  if (walk.item(0) && walk.at < payload.length) walk.fail("The payload goes on after its one item", walk.at)
  if (walk.failure !== undefined) return Result.fail(walk.failure)
  const tags: Record<number, TagDecoder> = {}
  for (const tag of walk.tags) tags[tag] = knownTags.get(tag) ?? contentOf
  try {
    return Result.succeed(toJson(decode(payload, { tags, useMaps: true })))
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    return Result.fail(undecodable(`The payload is not CBOR (${why}), in the item`, 0))
  }
}

export const cborDecoder: Decoder = {
  stateful: false,
  decode: (payload, limits) => Result.map(decodeCbor(payload, limits), (root) => ({ root }))
}
