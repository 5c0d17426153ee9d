/**
 * What all protocol adapters are: a function from a payload to a document, or the poison that says what could not be read.
 * @module
 */
import { type Result } from "effect"
import { Poison } from "../errors.ts"
import { type StructureLimits } from "../scan.ts"

/** A metric that Sparkplug messages name by number after its birth. */
export interface AliasedMetric {
  readonly name: string
  readonly datatype: number
}
/** By alias, as decimal digits. Belongs to one edge node; JSON, so that it can be stored beside the device. */
export type AliasTable = Readonly<Record<string, AliasedMetric>>

export interface Decoded {
  readonly root: unknown // what a JSON payload could be: no functions, no undefined, no bigints
  readonly aliases?: AliasTable // of a stateful adapter: what the device's next payload is decoded with
}

export interface Decoder {
  /** Its payloads depend on those before them: they are decoded in the device's order, each with the last one's `aliases`. */
  readonly stateful: boolean
  readonly decode: (
    payload: Uint8Array,
    limits: StructureLimits,
    aliases?: AliasTable
  ) => Result.Result<Decoded, Poison>
}

/** A payload, or one field of it, that cannot be read: at which byte, and in which field. */
export const undecodable = (message: string, offset: number, field?: string): Poison =>
  new Poison({
    reason: "Undecodable",
    message: `${message} at byte ${offset}${field === undefined ? "" : `, in ${field}`}.`,
    offset,
    ...(field !== undefined && { path: field })
  })

export const tooDeep = (limit: number): Poison =>
  new Poison({ reason: "PayloadTooDeep", message: `The payload has more than ${limit} levels of nesting.`, limit })

export const tooManyKeys = (limit: number): Poison =>
  new Poison({ reason: "TooManyMetrics", message: `The payload has more than ${limit} keys.`, limit })

/** Sets a key that came from a payload: `__proto__` becomes a key like any other, which no rule can name. */
export const put = (target: Record<string, unknown>, key: string, value: unknown): void => {
  if (key === "__proto__") {
    Object.defineProperty(target, key, { value, enumerable: true, configurable: true, writable: true })
  } else target[key] = value
}

/** A 64-bit integer as JSON can say it: a number where a double holds it exactly, else its digits. */
export const integerOf = (value: bigint): number | string => {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : String(value)
}
