/**
 * UUIDs derived from content (version 5) and ordered by time (version 7). Time and randomness are given by the caller.
 * @module
 */
import { hash } from "node:crypto"
import { type Instant, type ReadingId } from "./ids.ts"

const uuidText = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i

/** Whether text is a UUID, in either case. */
export const isUuid = (text: string): boolean => text.length === 36 && uuidText.test(text)

const nibble = (code: number): number => (code < 58 ? code - 48 : (code | 32) - 87)

/** A text is copied here once: of ids that come from many places the engine looks up how to read each character. */
const letters = Buffer.alloc(36)
const HYPHEN = 45

/** Writes the 16 bytes of a UUID, given as {@link isUuid} accepts it, to `target` at `at`. */
const writeUuid = (uuid: string, target: Uint8Array, at: number): void => {
  letters.write(uuid, "latin1")
  let from = 0
  for (let index = at; index < at + 16; index++) {
    if (letters[from] === HYPHEN) from++
    target[index] = (nibble(letters[from]!) << 4) | nibble(letters[from + 1]!)
    from += 2
  }
}

/** The 16 bytes of a UUID. Throws a RangeError for other text, which is a fault of the caller. */
export const uuidToBytes = (uuid: string): Uint8Array => {
  if (!isUuid(uuid)) throw new RangeError(`Not a UUID: ${uuid}`)
  const bytes = new Uint8Array(16)
  writeUuid(uuid, bytes, 0)
  return bytes
}

const digits = Buffer.from("0123456789abcdef")
/** Texts are written here: put together from parts, each would keep them all alive. */
const text = Buffer.alloc(36, "-")
const VERSION_AT = 14
const VARIANT_AT = 19
const isHyphenAt = (place: number): boolean => place === 8 || place === 13 || place === 18 || place === 23

/** The lower-case text of the 16 bytes that start at `at`. */
export const bytesToUuid = (bytes: Uint8Array, at = 0): string => {
  let place = 0
  for (let index = at; index < at + 16; index++) {
    if (isHyphenAt(place)) place++
    const byte = bytes[index]!
    text[place++] = digits[byte >>> 4]!
    text[place++] = digits[byte & 0xf]!
  }
  return text.toString("latin1")
}

let scratch = Buffer.alloc(256)

/** RFC 9562 version 5: the same namespace and name (text as UTF-8) give the same UUID, everywhere. */
export const uuidV5 = (namespace: string, name: string): string => {
  const most = 16 + name.length * 3
  if (scratch.length < most) scratch = Buffer.alloc(most)
  writeUuid(namespace, scratch, 0)
  const hex = hash("sha1", scratch.subarray(0, 16 + scratch.write(name, 16)), "hex")
  let place = 0
  for (let index = 0; index < 32; index++) {
    if (isHyphenAt(place)) place++
    text[place++] = hex.charCodeAt(index)
  }
  text[VERSION_AT] = digits[5]!
  text[VARIANT_AT] = digits[(nibble(text[VARIANT_AT]!) & 0x3) | 0x8]!
  return text.toString("latin1")
}

const version7 = new Uint8Array(16)

/**
 * RFC 9562 version 7 for an instant and the 10 random bytes that start at `from`; microseconds beyond the millisecond go to
 * `rand_a`.
 */
export const uuidV7 = (at: Instant, random: Uint8Array, from = 0): string => {
  const millis = Math.floor(at / 1000)
  const bytes = version7
  for (let index = 6; index < 16; index++) bytes[index] = random[from + index - 6]!
  const high = Math.floor(millis / 0x1_0000_0000)
  bytes[0] = high >>> 8
  bytes[1] = high
  bytes[2] = millis / 0x100_0000
  bytes[3] = millis / 0x1_0000
  bytes[4] = millis / 0x100
  bytes[5] = millis
  const fraction = Math.floor(((at - millis * 1000) * 4096) / 1000)
  bytes[6] = 0x70 | (fraction >>> 8)
  bytes[7] = fraction
  bytes[8] = 0x80 | (bytes[8]! & 0x3f)
  return bytesToUuid(bytes)
}

/** The instant in a version 7 UUID, in epoch microseconds, exact to the millisecond. */
export const uuidV7Instant = (uuid: string): Instant => Number.parseInt(uuid.slice(0, 8) + uuid.slice(9, 13), 16) * 1000

/**
 * The identity of what was measured: UUIDv5 in the entity's namespace of `{ts}:{digest}:{index}:{part}`.
 * @param ts epoch microseconds of the reading
 * @param digest SHA-256 of the entry's payload, lower-case hex
 * @param index place of the entry in the device's message, 0 for an endpoint
 * @param part 0, or the place among the readings that one entry was split into
 */
export const readingIdOf = (entityId: string, ts: Instant, digest: string, index: number, part: number): ReadingId =>
  uuidV5(entityId, `${ts}:${digest}:${index}:${part}`) as ReadingId
