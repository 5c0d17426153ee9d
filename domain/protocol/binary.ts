/**
 * Fixed layouts of bytes: fields at offsets, as of Modbus registers and of most LoRaWAN devices.
 * @module
 */
import { Result } from "effect"
import { type Poison } from "../errors.ts"
import { type BinaryAdapter, type BinaryField } from "./adapter.ts"
import { bytesFrom, withDecoded } from "./bytes-source.ts"
import { type Decoder, integerOf, put, undecodable } from "./decoder.ts"
import { type Problem } from "../extract.ts"
import { linear } from "../linear.ts"

export type Layout = Pick<
  typeof BinaryField.Type,
  "name" | "type" | "endianness" | "wordSwapped" | "length" | "bit" | "bits" | "scale" | "valueOffset"
>

const widths: Readonly<Record<Layout["type"], number>> = {
  uint8: 1,
  int8: 1,
  uint16: 2,
  int16: 2,
  uint24: 3,
  int24: 3,
  uint32: 4,
  int32: 4,
  uint64: 8,
  int64: 8,
  float32: 4,
  float64: 8,
  text: 0,
  hex: 0
}

/** How many bytes a field takes. */
export const widthOf = ({ length, type }: Pick<Layout, "length" | "type">): number => widths[type] || (length ?? 0)

/** What is wrong with a field's layout; the schema leaves these to be said. */
export const layoutProblem = (field: Layout): string | undefined => {
  const { bit, bits, length, type, wordSwapped } = field
  const isText = type === "text" || type === "hex"
  if (isText && length === undefined) return `A field of type ${type} needs a length.`
  if (!isText && length !== undefined) return `The length of a field of type ${type} is given by its type.`
  if (wordSwapped && widths[type] < 4) return "Only fields of four and eight bytes have words to swap."
  if (isText && (field.scale !== undefined || field.valueOffset !== undefined)) return "Only numbers can be scaled."
  if (bit === undefined) return bits === undefined ? undefined : "A width in bits needs the number of the lowest bit."
  if (!/^uint(?:8|16|24|32)$/.test(type)) return "Bit fields are taken from unsigned numbers of up to 32 bits."
  return bit + (bits ?? 1) > widths[type] * 8
    ? `The bit field ends beyond the ${widths[type] * 8} bits of its number.`
    : undefined
}

const utf8 = new TextDecoder()
const scratch = new Uint8Array(8)
const scratchView = new DataView(scratch.buffer)

/** The field's bytes, highest first, in the scratch. */
const arrange = (bytes: Uint8Array, at: number, width: number, little: boolean, swapped: boolean): void => {
  for (let index = 0; index < width; index++) {
    const from = little ? width - 1 - index : index
    // words in reverse order, the bytes within each as they are
    scratch[index] = bytes[at + (swapped ? width - 2 - (from & ~1) + (from & 1) : from)]!
  }
}

const integerIn = (type: Layout["type"]): number | bigint => {
  switch (type) {
    case "uint8":
      return scratch[0]!
    case "int8":
      return scratchView.getInt8(0)
    case "uint16":
      return scratchView.getUint16(0)
    case "int16":
      return scratchView.getInt16(0)
    case "uint24":
      return scratchView.getUint16(0) * 256 + scratch[2]!
    case "int24":
      return scratchView.getInt16(0) * 256 + scratch[2]!
    case "uint32":
      return scratchView.getUint32(0)
    case "int32":
      return scratchView.getInt32(0)
    case "uint64":
      return scratchView.getBigUint64(0)
    case "int64":
      return scratchView.getBigInt64(0)
    case "float32":
      return scratchView.getFloat32(0)
    default:
      return scratchView.getFloat64(0)
  }
}

/** The value of a field whose bytes start at `at`, all of them there. */
export type FieldReader = (bytes: Uint8Array, at: number) => string | number | boolean

/**
 * Compiles a field. A bit field of one bit is a boolean. Integers beyond 2⁵³ come as digits unless they are scaled; a NaN or an
 * infinity comes as it is, and is no value for a numeric rule.
 */
export const fieldReader = (field: Layout): FieldReader => {
  const { bit, bits = 1, endianness, scale = 1, type, valueOffset = 0, wordSwapped } = field
  const width = widthOf(field)
  if (type === "hex") return (bytes, at) => Buffer.from(bytes.subarray(at, at + width)).toString("hex")
  if (type === "text") {
    return (bytes, at) => {
      const text = bytes.subarray(at, at + width)
      const end = text.indexOf(0)
      return utf8.decode(end < 0 ? text : text.subarray(0, end))
    }
  }
  const scaled = scale === 1 && valueOffset === 0 ? undefined : linear(scale, valueOffset)
  return (bytes, at) => {
    arrange(bytes, at, width, endianness === "little", wordSwapped)
    const raw = integerIn(type)
    if (typeof raw === "bigint") return scaled === undefined ? integerOf(raw) : scaled(Number(raw))
    if (bit === undefined) return scaled === undefined ? raw : scaled(raw)
    const field32 = Math.floor(raw / 2 ** bit) % 2 ** bits
    if (scaled !== undefined) return scaled(field32)
    return bits === 1 ? field32 === 1 : field32
  }
}

/** Compiles a layout; what is wrong with it is added to `problems`. The document is `{ name: value }`. */
export const binaryDecoder = (adapter: typeof BinaryAdapter.Type, problems: Array<Problem>): Decoder => {
  const { fields, source } = adapter
  fields.forEach((field, index) => {
    const message = layoutProblem(field)
    if (message !== undefined) problems.push({ path: `$.protocolAdapter.fields[${index}]`, message })
  })
  const find = bytesFrom(source, problems)
  const readers = fields.map((field) => ({ field, read: fieldReader(field) }))
  return {
    stateful: false,
    decode: (payload, limits) => {
      const found = find(payload, limits)
      if (Result.isFailure(found)) return Result.fail(found.failure)
      const { bytes } = found.success
      const values: Record<string, unknown> = {}
      for (const { field, read } of readers) {
        const short = shortBy(field, bytes)
        if (short === undefined) put(values, field.name, read(bytes, field.offset))
        else if (!field.optional) return Result.fail(short)
      }
      return Result.succeed({ root: withDecoded(found.success, values) })
    }
  }
}

const shortBy = (field: typeof BinaryField.Type, bytes: Uint8Array): Poison | undefined =>
  field.offset + widthOf(field) <= bytes.length
    ? undefined
    : undecodable(
        `${widthOf(field)} bytes are expected at byte ${field.offset}, but the payload ends`,
        bytes.length,
        field.name
      )
