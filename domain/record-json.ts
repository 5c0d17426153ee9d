/**
 * Records between services hold a JSON object. The service that wrote one is trusted: only what is none at all is caught.
 * @module
 */
import { Result } from "effect"
import { Poison } from "./errors.ts"
import type { NormalizedMessage } from "./readings.ts"

const decoder = new TextDecoder()

/** JSON as the value of a record, or as a state in a row. Small ones share memory: a `TextEncoder` gives each a buffer of its own, for five times the time. */
export const jsonBytes = (value: object): Uint8Array => Buffer.from(JSON.stringify(value))

const objectIn = (text: string): object => {
  const value: unknown = JSON.parse(text)
  if (typeof value === "object" && value !== null) return value
  throw new TypeError("it is no object")
}

/** @param what it should be, with its article, for the message: "a normalized message" */
export const parseRecord = <A>(record: { readonly value: Uint8Array }, what: string): Result.Result<A, Poison> =>
  Result.try({
    try: () => objectIn(decoder.decode(record.value)) as A,
    catch: (cause) => new Poison({ reason: "Undecodable", message: `Not ${what}: ${String(cause)}` })
  })

/** A value of `telemetry.normalized.v1`. Where a record has room for it, it is parsed once for all who read it. */
export const parseNormalized = (
  record: { readonly value: Uint8Array; parsed?: object | null | undefined },
  what = "a normalized message"
): Result.Result<NormalizedMessage, Poison> => {
  if (record.parsed) return Result.succeed(record.parsed as NormalizedMessage)
  const read = parseRecord<NormalizedMessage>(record, what)
  if (record.parsed === null && Result.isSuccess(read)) record.parsed = read.success
  return read
}
