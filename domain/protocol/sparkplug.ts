/**
 * Sparkplug B payloads (Eclipse Sparkplug 3.0, section 6): metrics by name, those known by an alias alone through the births
 * of their edge node.
 *
 * The document is `{ timestamp, seq, metrics: { name: value }, times: { name: ms } }`; a metric that is null is null. Datasets
 * come as `{ columns, rows }`, templates as an object of their metrics, bytes as base64, arrays as base64 of their bytes.
 * A payload with `bdSeq` begins a new table of aliases (NBIRTH); each metric with both name and alias adds to it, as DBIRTHs
 * do. An alias is unique within an edge node, so its messages must all come in under the one device that stands for it.
 * @module
 */
import { Result } from "effect"
import protobuf from "protobufjs/minimal.js"
import { Poison } from "../errors.ts"
import { type StructureLimits } from "../scan.ts"
import {
  type AliasedMetric,
  type AliasTable,
  type Decoded,
  type Decoder,
  integerOf,
  put,
  undecodable
} from "./decoder.ts"

const MAX_ALIASES = 10_000
const MAX_DEPTH = 16 // of templates in templates

type Reader = protobuf.Reader

/** Where reading stopped and why, thrown through the nested reads and caught by {@link decodeSparkplug}. */
class Unreadable extends Error {
  readonly poison: Poison
  constructor(poison: Poison) {
    super(poison.message)
    this.poison = poison
  }
}

const refuse = (message: string, at: number, field?: string): never => {
  throw new Unreadable(undecodable(message, at, field))
}

const uint64 = (reader: Reader): bigint => {
  const long = reader.uint64() as { readonly low: number; readonly high: number } | number
  return typeof long === "number"
    ? BigInt(long)
    : BigInt.asUintN(64, (BigInt(long.high) << 32n) | BigInt(long.low >>> 0))
}

const timeOf = (reader: Reader): number | string => integerOf(uint64(reader))

const datatypes = { int8: 1, int16: 2, int32: 3, int64: 4, dateTime: 13 } as const

interface Metric {
  name?: string
  alias?: string
  timestamp?: number | string
  datatype?: number
  isNull: boolean
  value: unknown
}

/** Signed numbers travel as unsigned ones of the same bits. */
const signed = (value: bigint, datatype: number | undefined): number | string => {
  switch (datatype) {
    case datatypes.int8:
      return Number(BigInt.asIntN(8, value))
    case datatypes.int16:
      return Number(BigInt.asIntN(16, value))
    case datatypes.int32:
      return Number(BigInt.asIntN(32, value))
    case datatypes.int64:
      return integerOf(BigInt.asIntN(64, value))
    default:
      return integerOf(value)
  }
}

/** Reads the payload's messages, bounded in how much it makes of them. */
class PayloadReader {
  left: number
  readonly reader: Reader
  constructor(payload: Uint8Array, limits: StructureLimits) {
    this.reader = protobuf.Reader.create(payload)
    this.left = limits.keys
  }

  spend(): void {
    if (--this.left >= 0) return
    const message = "The payload has more metrics, parameters and cells than may be in one message."
    throw new Unreadable(new Poison({ reason: "TooManyMetrics", message }))
  }

  /** Where a nested message ends; one that ends beyond what it is in is refused. */
  end(within: number): number {
    const { reader } = this
    const start = reader.pos
    const length = reader.uint32()
    const end = reader.pos + length
    return end <= within ? end : refuse(`A message of ${length} bytes ends beyond what it is in; it starts`, start)
  }

  /** A length-delimited value that must lie within the message. */
  bytes(within: number): Uint8Array {
    const { reader } = this
    const end = this.end(within)
    const bytes = reader.buf.subarray(reader.pos, end)
    reader.pos = end
    return bytes
  }

  text(within: number): string {
    return Buffer.from(this.bytes(within)).toString("utf8")
  }

  /** Calls `field` with each field's number and wire type until `end`. */
  fields(end: number, field: (number: number, wire: number) => boolean): void {
    const { reader } = this
    while (reader.pos < end) {
      const start = reader.pos
      const tag = reader.uint32()
      if (tag >>> 3 === 0) refuse("There is a field without a number", start)
      if (!field(tag >>> 3, tag & 7)) this.skip(tag & 7, end, start)
    }
    if (reader.pos !== end) refuse("A field ends beyond the message it is in;", reader.pos)
  }

  /** Groups, which Sparkplug has none of, are refused: skipping them would nest without bound. */
  skip(wire: number, end: number, start: number): void {
    const { reader } = this
    if (wire === 0) uint64(reader)
    else if (wire === 1) reader.pos += 8
    else if (wire === 2) this.bytes(end)
    else if (wire === 5) reader.pos += 4
    else refuse(`There is a field of the unknown kind ${wire}`, start)
  }

  metric(end: number, depth: number): Metric {
    this.spend()
    const { reader } = this
    const metric: Metric = { isNull: false, value: undefined }
    let integer: bigint | undefined
    this.fields(end, (number, wire) => {
      if (number === 1 && wire === 2) metric.name = this.text(end)
      else if (number === 2 && wire === 0) metric.alias = String(uint64(reader))
      else if (number === 3 && wire === 0) metric.timestamp = timeOf(reader)
      else if (number === 4 && wire === 0) metric.datatype = reader.uint32()
      else if (number === 7 && wire === 0) metric.isNull = reader.bool()
      else if ((number === 10 || number === 11) && wire === 0) integer = uint64(reader)
      else if (number === 12 && wire === 5) metric.value = reader.float()
      else if (number === 13 && wire === 1) metric.value = reader.double()
      else if (number === 14 && wire === 0) metric.value = reader.bool()
      else if (number === 15 && wire === 2) metric.value = this.text(end)
      else if (number === 16 && wire === 2) metric.value = Buffer.from(this.bytes(end)).toString("base64")
      else if (number === 17 && wire === 2) metric.value = this.dataSet(this.end(end))
      else if (number === 18 && wire === 2) metric.value = this.template(this.end(end), depth + 1)
      else return false
      return true
    })
    if (integer !== undefined) metric.value = integer
    return metric
  }

  template(end: number, depth: number): Record<string, unknown> {
    if (depth > MAX_DEPTH) {
      throw new Unreadable(
        new Poison({
          reason: "PayloadTooDeep",
          message: `Templates nest more than ${MAX_DEPTH} levels.`,
          limit: MAX_DEPTH
        })
      )
    }
    const values: Record<string, unknown> = {}
    this.fields(end, (number, wire) => {
      if (number !== 2 || wire !== 2) return false
      const metric = this.metric(this.end(end), depth)
      if (metric.name !== undefined) put(values, metric.name, finished(metric, metric.datatype))
      return true
    })
    return values
  }

  dataSet(end: number): unknown {
    const columns: Array<string> = []
    const types: Array<number> = []
    const rows: Array<ReadonlyArray<unknown>> = []
    const { reader } = this
    this.fields(end, (number, wire) => {
      if (number === 2 && wire === 2) {
        this.spend()
        columns.push(this.text(end))
      } else if (number === 3 && wire === 0) types.push(this.counted(reader.uint32()))
      else if (number === 3 && wire === 2) {
        const packed = this.end(end)
        while (reader.pos < packed) types.push(this.counted(reader.uint32()))
      } else if (number === 4 && wire === 2) rows.push(this.row(this.end(end), types))
      else return false
      return true
    })
    return { columns, rows }
  }

  counted(value: number): number {
    this.spend()
    return value
  }

  row(end: number, types: ReadonlyArray<number>): ReadonlyArray<unknown> {
    this.spend()
    const cells: Array<unknown> = []
    this.fields(end, (number, wire) => {
      if (number !== 1 || wire !== 2) return false
      this.spend()
      cells.push(this.cell(this.end(end), types[cells.length]))
      return true
    })
    return cells
  }

  cell(end: number, datatype: number | undefined): unknown {
    const { reader } = this
    let value: unknown = null
    this.fields(end, (number, wire) => {
      if ((number === 1 || number === 2) && wire === 0) value = signed(uint64(reader), datatype)
      else if (number === 3 && wire === 5) value = reader.float()
      else if (number === 4 && wire === 1) value = reader.double()
      else if (number === 5 && wire === 0) value = reader.bool()
      else if (number === 6 && wire === 2) value = this.text(end)
      else return false
      return true
    })
    return value
  }
}

const finished = ({ isNull, value }: Metric, datatype: number | undefined): unknown =>
  isNull ? null : typeof value === "bigint" ? signed(value, datatype) : (value ?? null)

/** Collects what a payload says, naming its metrics through the table that the births before it left. */
class Naming {
  readonly metrics: Record<string, unknown> = {}
  readonly times: Record<string, unknown> = {}
  aliases: AliasTable
  added: Record<string, AliasedMetric> | undefined = undefined

  constructor(aliases: AliasTable) {
    this.aliases = aliases
  }

  /** Births come with names: what they add is for the payloads after them. */
  learn(alias: string, name: string, datatype: number): void {
    this.added ??= { ...this.aliases }
    if (!Object.hasOwn(this.added, alias) && Object.keys(this.added).length >= MAX_ALIASES) {
      const message = `The edge node has more than ${MAX_ALIASES} metrics with an alias.`
      throw new Unreadable(new Poison({ reason: "TooManyMetrics", message, limit: MAX_ALIASES }))
    }
    this.added[alias] = { name, datatype }
  }

  add(metric: Metric, at: number): void {
    const { alias, datatype, name: sent, timestamp } = metric
    const known = alias !== undefined && Object.hasOwn(this.aliases, alias) ? this.aliases[alias] : undefined
    const name = sent ?? known?.name
    if (name === undefined) {
      const why =
        alias === undefined
          ? "has neither a name nor an alias"
          : `is known by its alias ${alias} only, and no birth said its name,`
      return refuse(`A metric ${why}`, at, alias === undefined ? undefined : `alias ${alias}`)
    }
    const isNew = known?.name !== sent || known?.datatype !== (datatype ?? 0)
    if (sent !== undefined && alias !== undefined && isNew) this.learn(alias, sent, datatype ?? 0)
    put(this.metrics, name, finished(metric, datatype ?? known?.datatype))
    if (timestamp !== undefined) put(this.times, name, timestamp)
  }
}

const MAX_BIRTH_SCAN = 1_000

const read = (payload: Uint8Array, limits: StructureLimits, before: AliasTable): Decoded => {
  const source = new PayloadReader(payload, limits)
  const { reader } = source
  const metrics: Array<{ readonly metric: Metric; readonly at: number }> = []
  let timestamp: unknown
  let seq: unknown
  const end = payload.length
  source.fields(end, (number, wire) => {
    if (number === 1 && wire === 0) timestamp = timeOf(reader)
    else if (number === 2 && wire === 2) {
      const at = reader.pos
      metrics.push({ metric: source.metric(source.end(end), 0), at })
    } else if (number === 3 && wire === 0) seq = timeOf(reader)
    else return false
    return true
  })
  const isNodeBirth =
    seq !== undefined && metrics.slice(0, MAX_BIRTH_SCAN).some(({ metric }) => metric.name === "bdSeq")
  const naming = new Naming(isNodeBirth ? {} : before)
  for (const { at, metric } of metrics) naming.add(metric, at)
  return {
    root: {
      ...(timestamp !== undefined && { timestamp }),
      ...(seq !== undefined && { seq }),
      metrics: naming.metrics,
      times: naming.times
    },
    aliases: naming.added ?? naming.aliases
  }
}

/**
 * One payload, and the table for the next. A payload that is refused leaves the table as it was: `aliases` of the last good one
 * go on. An alias that no birth named refuses the payload, which can be retried once the birth has come.
 */
export const decodeSparkplug = (
  payload: Uint8Array,
  limits: StructureLimits,
  aliases: AliasTable = {}
): Result.Result<Decoded, Poison> => {
  try {
    return Result.succeed(read(payload, limits, aliases))
  } catch (cause) {
    if (cause instanceof Unreadable) return Result.fail(cause.poison)
    const why = cause instanceof Error ? cause.message : String(cause)
    return Result.fail(undecodable(`The payload is no Sparkplug B message (${why}); it starts`, 0))
  }
}

export const sparkplugDecoder: Decoder = { stateful: true, decode: decodeSparkplug }
