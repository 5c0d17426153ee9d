/**
 * SenML (RFC 8428), JSON or CBOR: a pack of records with base values, resolved.
 *
 * The document:
 * - `records`: each with its full name `n`, and `u`, `v` | `vs` | `vb` | `vd`, `s`, `t` where it has them;
 * - `series`: the records of one base name and one time together, `{ device, timestamp, metrics }`, `device` the base name and
 *   `metrics` by the name within it. A gateway's type finds its children there;
 * - `device`, `timestamp`, `metrics`: of the latest series, for a device that sends one.
 *
 * Times below 2²⁸ are relative to when the pack was received; `timestamp` is absent then, and the reading is of that instant.
 * @module
 */
import { Result } from "effect"
import { type Poison } from "../errors.ts"
import { decodeJson } from "../scan.ts"
import { decodeCbor } from "./cbor.ts"
import { type Decoder, put, undecodable } from "./decoder.ts"

/** Labels of the CBOR form (RFC 8428, table 6). Strings are allowed there too. */
const cborLabels: Readonly<Record<string, string>> = {
  "-1": "bver",
  "-2": "bn",
  "-3": "bt",
  "-4": "bu",
  "-5": "bv",
  "-6": "bs",
  "0": "n",
  "1": "u",
  "2": "v",
  "3": "vs",
  "4": "vb",
  "5": "s",
  "6": "t",
  "7": "ut",
  "8": "vd"
}
const VERSION = 10
const ABSOLUTE_TIME = 2 ** 28
const nameText = /^[A-Za-z0-9][A-Za-z0-9\-:./_]*$/

const kinds: Readonly<Record<string, "string" | "number" | "boolean">> = {
  bn: "string",
  bt: "number",
  bu: "string",
  bv: "number",
  bs: "number",
  bver: "number",
  n: "string",
  u: "string",
  v: "number",
  vs: "string",
  vb: "boolean",
  vd: "string",
  s: "number",
  t: "number",
  ut: "number"
}

interface Fields {
  readonly bn?: string
  readonly bt?: number
  readonly bu?: string
  readonly bv?: number
  readonly bs?: number
  readonly bver?: number
  readonly n?: string
  readonly u?: string
  readonly v?: number
  readonly vs?: string
  readonly vb?: boolean
  readonly vd?: string
  readonly s?: number
  readonly t?: number
}

interface Series {
  readonly device: string
  readonly timestamp?: number
  readonly metrics: Record<string, unknown>
}

/** The fields of one record under their JSON labels, or what is wrong with it. */
const fieldsOf = (record: unknown, labels: Readonly<Record<string, string>> | undefined): Fields | string => {
  if (typeof record !== "object" || record === null || Array.isArray(record)) return "it is no object"
  const fields: Record<string, unknown> = {}
  for (const key of Object.keys(record)) {
    const label = labels !== undefined && Object.hasOwn(labels, key) ? labels[key]! : key
    const value: unknown = Reflect.get(record, key)
    if (Object.hasOwn(kinds, label)) {
      if (typeof value !== kinds[label]) return `${label} is no ${kinds[label]}`
      fields[label] = value
    } else if (label.endsWith("_")) return `it has the field ${label}, which must be understood and is not`
  }
  return fields as Fields
}

const valueOf = ({ v, vb, vd, vs }: Fields, base: number): unknown => (v !== undefined ? v + base : (vs ?? vb ?? vd))

/** Resolves a pack; what is wrong is said with the record's place. */
class Pack {
  readonly records: Array<Record<string, unknown>> = []
  readonly series = new Map<string, Series>()
  latest: Series | undefined = undefined
  latestTime = -Infinity
  base: { bn: string; bt: number; bu?: string; bv: number; bs: number } = { bn: "", bt: 0, bv: 0, bs: 0 }

  add(fields: Fields): string | undefined {
    const { bs, bt, bu, bv, bver, bn, n = "", s, t = 0, u } = fields
    if (bver !== undefined && bver > VERSION) return `its version ${bver} is above ${VERSION}`
    this.base = {
      bn: bn ?? this.base.bn,
      bt: bt ?? this.base.bt,
      bv: bv ?? this.base.bv,
      bs: bs ?? this.base.bs,
      ...((bu ?? this.base.bu) !== undefined && { bu: bu ?? this.base.bu! })
    }
    const given = [fields.v, fields.vs, fields.vb, fields.vd].filter((value) => value !== undefined)
    if (given.length > 1) return "it has more than one value"
    const isBase = [bn, bt, bu, bv, bs, bver].some((value) => value !== undefined)
    if (given.length === 0 && s === undefined && bv === undefined) {
      return isBase && n === "" ? undefined : "it has neither a value nor a sum"
    }
    const name = this.base.bn + n
    if (!nameText.test(name))
      return `its name ${JSON.stringify(name.slice(0, 100))} is empty or has other characters than allowed`
    const value =
      given.length === 0 && bv !== undefined && s === undefined ? this.base.bv : valueOf(fields, this.base.bv)
    const sum = s === undefined ? undefined : s + this.base.bs
    const time = this.base.bt + t
    const unit = u ?? this.base.bu
    this.records.push({
      n: name,
      ...(unit !== undefined && { u: unit }),
      ...(value !== undefined && { [this.labelOf(fields)]: value }),
      ...(sum !== undefined && { s: sum }),
      ...(time !== 0 && { t: time })
    })
    this.group(n === "" ? name : n, value, sum, time)
    return undefined
  }

  labelOf({ vb, vd, vs }: Fields): string {
    return vs !== undefined ? "vs" : vb !== undefined ? "vb" : vd !== undefined ? "vd" : "v"
  }

  group(key: string, value: unknown, sum: number | undefined, time: number): void {
    const { bn: device } = this.base
    const at = `${time} ${device}`
    let series = this.series.get(at)
    if (series === undefined) {
      series = { device, ...(time >= ABSOLUTE_TIME && { timestamp: time }), metrics: {} }
      this.series.set(at, series)
    }
    if (value !== undefined) put(series.metrics, key, value)
    if (sum !== undefined) put(series.metrics, `${key}.sum`, sum)
    if (time >= this.latestTime) {
      this.latest = series
      this.latestTime = time
    }
  }
}

const resolve = (
  pack: unknown,
  labels: Readonly<Record<string, string>> | undefined
): Result.Result<unknown, Poison> => {
  if (!Array.isArray(pack))
    return Result.fail(undecodable("A SenML pack is an array of records, but what is there is none", 0))
  const resolved = new Pack()
  for (let index = 0; index < pack.length; index++) {
    const fields = fieldsOf(pack[index], labels)
    const why = typeof fields === "string" ? fields : resolved.add(fields)
    // byte offsets are lost once the pack is parsed: the record's place says where
    if (why !== undefined)
      return Result.fail(
        undecodable(`Record ${index} of the pack is refused, ${why}; the pack starts`, 0, `[${index}]`)
      )
  }
  const { latest, records, series } = resolved
  return Result.succeed({ ...latest, series: [...series.values()], records })
}

export const senmlDecoder = (format: "json" | "cbor"): Decoder => ({
  stateful: false,
  decode: (payload, limits) => {
    const decoded = format === "json" ? decodeJson(payload, limits) : decodeCbor(payload, limits)
    if (Result.isFailure(decoded)) return Result.fail(decoded.failure)
    return Result.map(resolve(decoded.success, format === "cbor" ? cborLabels : undefined), (root) => ({ root }))
  }
})
