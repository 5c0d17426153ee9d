/**
 * From the adapter that a device type names to the decoder of its payloads.
 * @module
 */
import { Result } from "effect"
import { type Problem } from "../extract.ts"
import { compileMessageSchema } from "../json-schema.ts"
import { decodeJson } from "../scan.ts"
import { type ConverterCopy, type OwnAdapter, type ProtocolAdapter } from "./adapter.ts"
import { binaryDecoder } from "./binary.ts"
import { cborDecoder } from "./cbor.ts"
import { csvDecoder } from "./csv.ts"
import { type Decoder } from "./decoder.ts"
import { keyedDecoder } from "./keyed.ts"
import { senmlDecoder } from "./senml.ts"
import { sparkplugDecoder } from "./sparkplug.ts"
import { cayenneDecoder, tlvDecoder } from "./tlv.ts"

export const jsonDecoder: Decoder = {
  stateful: false,
  decode: (payload, limits) => Result.map(decodeJson(payload, limits), (root) => ({ root }))
}

const byName: Readonly<Record<Extract<OwnAdapter, string>, Decoder>> = {
  json: jsonDecoder,
  csv: csvDecoder({ delimiter: ",", rows: "one" }),
  cbor: cborDecoder,
  senml: senmlDecoder("json"),
  sparkplug_b: sparkplugDecoder
}

const compileOwn = (adapter: OwnAdapter, problems: Array<Problem>): Decoder => {
  if (typeof adapter === "string") return byName[adapter]
  switch (adapter.kind) {
    case "binary":
      return binaryDecoder(adapter, problems)
    case "tlv":
      return tlvDecoder(adapter, problems)
    case "cayenne_lpp":
      return cayenneDecoder(adapter, problems)
    case "csv":
      return csvDecoder(adapter)
    case "senml":
      return senmlDecoder(adapter.format)
    case "keyed":
      return keyedDecoder(adapter, problems)
  }
}

/** A converter's adapter, whose documents must be as its target schema says. */
const compileConverter = (
  { adapter, targetSchema }: Pick<typeof ConverterCopy.Type, "adapter" | "targetSchema">,
  problems: Array<Problem>
): Decoder => {
  const decoder = compileOwn(adapter, problems)
  if (targetSchema === undefined) return decoder
  const compiled = compileMessageSchema(targetSchema)
  if (Result.isFailure(compiled)) {
    problems.push(...compiled.failure.map(({ message }) => ({ path: "$.protocolAdapter.targetSchema", message })))
    return decoder
  }
  return {
    stateful: decoder.stateful,
    decode: (payload, limits, aliases) => {
      const decoded = decoder.decode(payload, limits, aliases)
      if (Result.isFailure(decoded)) return decoded
      const mismatch = compiled.success(decoded.success.root, payload.byteLength)
      return mismatch === undefined ? decoded : Result.fail(mismatch)
    }
  }
}

/** Compiles an adapter; what is wrong with it is added to `problems`. */
export const compileAdapter = (adapter: ProtocolAdapter, problems: Array<Problem>): Decoder => {
  if (typeof adapter === "string" || "kind" in adapter) return compileOwn(adapter, problems)
  if (adapter.copy !== undefined) return compileConverter(adapter.copy, problems)
  const message = "A converter is resolved to its adapter before its device type is compiled; this one was not."
  problems.push({ path: "$.protocolAdapter.converterId", message })
  return jsonDecoder
}
