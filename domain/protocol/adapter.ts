/**
 * Protocol adapters as a device type names them: how the payload's bytes become the document that extraction rules read.
 * @module
 */
import { Schema } from "effect"
import { MetricKey, orElse, Uuid } from "../ids.ts"

const Place = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 8_388_608 }))
const Bit = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 31 }))
const Tag = Schema.String.check(Schema.isPattern(/^(?:[0-9a-f]{2}){1,4}$/))

/** How a number or text lies in bytes. A 16-bit register of Modbus is two bytes, the high one first. */
const layout = {
  name: MetricKey,
  type: Schema.Literals([
    "uint8",
    "int8",
    "uint16",
    "int16",
    "uint24",
    "int24",
    "uint32",
    "int32",
    "uint64",
    "int64",
    "float32",
    "float64",
    "text", // UTF-8 up to the first NUL
    "hex"
  ]),
  endianness: Schema.Literals(["big", "little"]).pipe(Schema.withDecodingDefaultKey(orElse("big"))),
  wordSwapped: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(orElse(false))), // 16-bit words in reverse order: CDAB, or BADC with little
  length: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 65_536 }))), // bytes of text and hex
  bit: Schema.optionalKey(Bit), // lowest bit of a bit field in an unsigned number of up to 32 bits
  bits: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 32 }))), // its width; 1 unless said
  scale: Schema.optionalKey(Schema.Finite), // value × scale + valueOffset
  valueOffset: Schema.optionalKey(Schema.Finite)
}
export const BinaryField = Schema.Struct({
  ...layout,
  offset: Place, // of the first byte
  optional: Schema.Boolean.pipe(Schema.withDecodingDefaultKey(orElse(false))) // absent where the payload ends before it
})
export const TlvField = Schema.Struct({
  ...layout,
  tag: Tag, // hex, lower-case
  offset: Place.pipe(Schema.withDecodingDefaultKey(orElse(0))) // of the first byte within the tag's data
})
/** Where the bytes are: the payload itself, the payload as text, or a text within a JSON payload. */
export const BytesSource = Schema.Struct({
  encoding: Schema.Literals(["raw", "hex", "base64"]).pipe(Schema.withDecodingDefaultKey(orElse("raw"))),
  path: Schema.optionalKey(Schema.NonEmptyString) // then the document is the JSON with what was read under `decoded`
})
const source = BytesSource.pipe(Schema.withDecodingDefaultKey(orElse({})))
const some = Schema.isMaxLength(1_000)

export const BinaryAdapter = Schema.Struct({
  kind: Schema.Literal("binary"),
  source,
  fields: Schema.Array(BinaryField).check(Schema.isMinLength(1), some)
})
/** Tag, then length where there is one, then data; again until the payload ends. */
export const TlvAdapter = Schema.Struct({
  kind: Schema.Literal("tlv"),
  source,
  tagLength: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 4 })), // bytes, all tags alike
  lengthBytes: Schema.Literals([0, 1, 2]).pipe(Schema.withDecodingDefaultKey(orElse(0))), // 0: the tag's fields decide
  fields: Schema.Array(TlvField).check(Schema.isMinLength(1), some) // several of one tag share its data
})
export const CayenneAdapter = Schema.Struct({ kind: Schema.Literal("cayenne_lpp"), source })
export const CsvAdapter = Schema.Struct({
  kind: Schema.Literal("csv"),
  delimiter: Schema.Literals([",", ";", "\t", "|"]).pipe(Schema.withDecodingDefaultKey(orElse(","))),
  columns: Schema.optionalKey(Schema.Array(MetricKey).check(Schema.isMinLength(1), some)), // absent: the first line names them
  rows: Schema.Literals(["one", "many"]).pipe(Schema.withDecodingDefaultKey(orElse("one"))) // many: the document is { rows: […] }
})
export const SenmlAdapter = Schema.Struct({ kind: Schema.Literal("senml"), format: Schema.Literals(["json", "cbor"]) })

/** JSON that names its values by ids, as keys of an object or within the items of an array. */
export const KeyedAdapter = Schema.Struct({
  kind: Schema.Literal("keyed"),
  groupsPath: Schema.optionalKey(Schema.NonEmptyString), // an array whose items each have entries; absent: the payload itself has them
  entriesPath: Schema.NonEmptyString.pipe(Schema.withDecodingDefaultKey(orElse("$"))), // an object by id, or an array
  idPath: Schema.optionalKey(Schema.Union([Schema.NonEmptyString, Schema.NonEmptyArray(Schema.NonEmptyString)])), // in an array's item; several parts are joined by commas
  valuePath: Schema.optionalKey(Schema.Union([Schema.NonEmptyString, Schema.NonEmptyArray(Schema.NonEmptyString)])), // in the entry, the first present; absent, or a bare value: the entry itself
  fields: Schema.Array(Schema.Struct({ name: MetricKey, id: Schema.NonEmptyString })).check(Schema.isMinLength(1), some)
})

/** All that a converter can come to. */
export const OwnAdapter = Schema.Union([
  Schema.Literals(["json", "csv", "cbor", "senml", "sparkplug_b"]),
  BinaryAdapter,
  TlvAdapter,
  CayenneAdapter,
  CsvAdapter,
  SenmlAdapter,
  KeyedAdapter
])
export type OwnAdapter = typeof OwnAdapter.Type

/** What a converter was when a version was published with it; only published versions have it. */
export const ConverterCopy = Schema.Struct({
  version: Schema.Int, // of the converter
  adapter: OwnAdapter,
  targetSchema: Schema.optionalKey(Schema.JsonObject)
})
export const ConverterAdapter = Schema.Struct({ converterId: Uuid, copy: Schema.optionalKey(ConverterCopy) })

export const ProtocolAdapter = Schema.Union([OwnAdapter, ConverterAdapter])
export type ProtocolAdapter = typeof ProtocolAdapter.Type
