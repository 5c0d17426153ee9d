/**
 * Records between services hold a JSON object. The service that wrote one is trusted: only what is none at all is caught.
 * @module
 */
import { Result } from "effect"
import { Poison } from "./errors.ts"
import type { NormalizedMessage } from "./readings.ts"

const decoder = new TextDecoder()

/**
 * JSON as the value of a record, or as a state in a row. Small ones share memory: a `TextEncoder` gives each a buffer of its own,
 * for five times the time.
 */
export const jsonBytes = (value: object): Uint8Array => Buffer.from(JSON.stringify(value))

const objectIn = (text: string): object => {
  const value: unknown = JSON.parse(text)
  if (typeof value === "object" && value !== null) return value
  throw new TypeError("it is no object")
}

/**
 * The value of a record with the object that it is the JSON of: who gets the record in the same process need not parse it. The
 * object is as its JSON is (no undefined, no instances of classes), and is not changed afterwards.
 */
export const jsonValue = (json: object) => ({ value: jsonBytes(json), json })

interface Parsable {
  readonly value: Uint8Array
  parsed?: object | null | undefined
}

/**
 * What a record's value is the JSON of. Where the record has room for it, it is parsed once for all who read it.
 * @param what it should be, with its article, for the message: "a normalized message"
 */
export const parseRecord = <A>(record: Parsable, what: string): Result.Result<A, Poison> => {
  if (record.parsed) return Result.succeed(record.parsed as A)
  const read = Result.try({
    try: () => objectIn(decoder.decode(record.value)),
    catch: (cause) => new Poison({ reason: "Undecodable", message: `Not ${what}: ${String(cause)}` })
  })
  if (record.parsed === null && Result.isSuccess(read)) record.parsed = read.success
  return read as Result.Result<A, Poison>
}

/** A value of `telemetry.normalized.v1`. */
export const parseNormalized = (record: Parsable) => parseRecord<NormalizedMessage>(record, "a normalized message")
