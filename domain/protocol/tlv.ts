/**
 * Payloads of tagged values one after another: layouts of one's own (Milesight's channels), and Cayenne LPP.
 * @module
 */
import { Result } from "effect"
import { type Poison } from "../errors.ts"
import { type Problem } from "../extract.ts"
import { type CayenneAdapter, type TlvAdapter, type TlvField } from "./adapter.ts"
import { fieldReader, type FieldReader, layoutProblem, type Layout, widthOf } from "./binary.ts"
import { bytesFrom, withDecoded } from "./bytes-source.ts"
import { type Decoder, put, undecodable } from "./decoder.ts"

const hexAt = (bytes: Uint8Array, at: number, length: number): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + at, length).toString("hex")

const uintAt = (bytes: Uint8Array, at: number, length: number): number =>
  length === 2 ? bytes[at]! * 256 + bytes[at + 1]! : bytes[at]!

interface TaggedFields {
  readonly fields: ReadonlyArray<{ readonly name: string; readonly offset: number; readonly read: FieldReader }>
  readonly width: number
}

const byTag = (fields: ReadonlyArray<typeof TlvField.Type>): ReadonlyMap<string, TaggedFields> => {
  const tags = new Map<string, TaggedFields>()
  for (const field of fields) {
    const known = tags.get(field.tag)
    const width = Math.max(known?.width ?? 0, field.offset + widthOf(field))
    const { name, offset } = field
    tags.set(field.tag, { fields: [...(known?.fields ?? []), { name, offset, read: fieldReader(field) }], width })
  }
  return tags
}

/** Compiles a layout of tags; what is wrong with it is added to `problems`. Of a tag that comes twice the last value stays. */
export const tlvDecoder = (adapter: typeof TlvAdapter.Type, problems: Array<Problem>): Decoder => {
  const { fields, lengthBytes, source, tagLength } = adapter
  fields.forEach((field, index) => {
    const path = `$.protocolAdapter.fields[${index}]`
    const message = layoutProblem(field)
    if (message !== undefined) problems.push({ path, message })
    if (field.tag.length !== tagLength * 2) {
      problems.push({ path: `${path}.tag`, message: `A tag has ${tagLength} bytes, so ${tagLength * 2} hex digits.` })
    }
  })
  const tags = byTag(fields)
  const find = bytesFrom(source, problems)
  const read = (bytes: Uint8Array, into: Record<string, unknown>): Poison | undefined => {
    let at = 0
    while (at < bytes.length) {
      const start = at
      if (at + tagLength + lengthBytes > bytes.length) return undecodable("The payload ends within a tag", start)
      const tag = hexAt(bytes, at, tagLength)
      at += tagLength
      const known = tags.get(tag)
      let width = known?.width
      if (lengthBytes > 0) {
        width = uintAt(bytes, at, lengthBytes)
        at += lengthBytes
      }
      if (width === undefined)
        return undecodable(`The tag ${tag} is not in the layout, so its length is unknown,`, start)
      if (at + width > bytes.length) return undecodable(`The payload ends before the data of tag ${tag} do`, start, tag)
      if (known !== undefined) {
        if (width < known.width) return undecodable(`Tag ${tag} has ${width} bytes instead of ${known.width}`, at, tag)
        for (const { name, offset, read } of known.fields) put(into, name, read(bytes, at + offset))
      }
      at += width
    }
    return undefined
  }
  return {
    stateful: false,
    decode: (payload, limits) => {
      const found = find(payload, limits)
      if (Result.isFailure(found)) return Result.fail(found.failure)
      const values: Record<string, unknown> = {}
      const failure = read(found.success.bytes, values)
      if (failure !== undefined) return Result.fail(failure)
      return Result.succeed({ root: withDecoded(found.success, values) })
    }
  }
}

interface CayennePart {
  readonly name: string
  readonly width: number
  readonly read: FieldReader
}

const big = (name: string, type: Layout["type"], scale: number): CayennePart => {
  const layout: Layout = { name, type, scale, endianness: "big", wordSwapped: false }
  return { name, width: widthOf(layout), read: fieldReader(layout) }
}

/** Data types of Cayenne LPP 1.0 and of its usual extensions, by type byte: the parts of the value in order. */
const cayenneTypes: ReadonlyMap<number, readonly [name: string, ...parts: ReadonlyArray<CayennePart>]> = new Map([
  [0, ["digital_input", big("", "uint8", 1)]],
  [1, ["digital_output", big("", "uint8", 1)]],
  [2, ["analog_input", big("", "int16", 0.01)]],
  [3, ["analog_output", big("", "int16", 0.01)]],
  [100, ["generic", big("", "uint32", 1)]],
  [101, ["illuminance", big("", "uint16", 1)]],
  [102, ["presence", big("", "uint8", 1)]],
  [103, ["temperature", big("", "int16", 0.1)]],
  [104, ["humidity", big("", "uint8", 0.5)]],
  [113, ["accelerometer", big("x", "int16", 0.001), big("y", "int16", 0.001), big("z", "int16", 0.001)]],
  [115, ["barometer", big("", "uint16", 0.1)]],
  [116, ["voltage", big("", "uint16", 0.01)]],
  [117, ["current", big("", "uint16", 0.001)]],
  [118, ["frequency", big("", "uint32", 1)]],
  [120, ["percentage", big("", "uint8", 1)]],
  [121, ["altitude", big("", "int16", 1)]],
  [125, ["concentration", big("", "uint16", 1)]],
  [128, ["power", big("", "uint16", 1)]],
  [130, ["distance", big("", "uint32", 0.001)]],
  [131, ["energy", big("", "uint32", 0.001)]],
  [132, ["direction", big("", "uint16", 1)]],
  [133, ["unixtime", big("", "uint32", 1)]],
  [134, ["gyrometer", big("x", "int16", 0.01), big("y", "int16", 0.01), big("z", "int16", 0.01)]],
  [136, ["gps", big("latitude", "int24", 0.0001), big("longitude", "int24", 0.0001), big("altitude", "int24", 0.01)]],
  [142, ["switch", big("", "uint8", 1)]]
] as const)

const readCayenne = (bytes: Uint8Array, into: Record<string, unknown>): Poison | undefined => {
  let at = 0
  while (at < bytes.length) {
    const channel = bytes[at]!
    const code = bytes[at + 1]
    if (code === undefined) return undecodable("The payload ends within a channel", at)
    const type = cayenneTypes.get(code)
    if (type === undefined) return undecodable(`The data type ${code} of channel ${channel} is unknown`, at + 1)
    const [name, ...parts] = type
    at += 2
    for (const { name: axis, read, width } of parts) {
      const key = `${name}_${channel}${axis === "" ? "" : `_${axis}`}`
      if (at + width > bytes.length) return undecodable(`The payload ends before ${key} does`, at, key)
      into[key] = read(bytes, at)
      at += width
    }
  }
  return undefined
}

/** Cayenne LPP: the document is `{ temperature_3: 27.2, gps_1_latitude: … }`, each value under its type and channel. */
export const cayenneDecoder = ({ source }: typeof CayenneAdapter.Type, problems: Array<Problem>): Decoder => {
  const find = bytesFrom(source, problems)
  return {
    stateful: false,
    decode: (payload, limits) => {
      const found = find(payload, limits)
      if (Result.isFailure(found)) return Result.fail(found.failure)
      const values: Record<string, unknown> = {}
      const failure = readCayenne(found.success.bytes, values)
      if (failure !== undefined) return Result.fail(failure)
      return Result.succeed({ root: withDecoded(found.success, values) })
    }
  }
}
