/**
 * From the adapter that a device type names to the decoder of its payloads.
 * @module
 */
import { Result } from "effect"
import { type Problem } from "../extract.ts"
import { decodeJson } from "../scan.ts"
import { type ProtocolAdapter } from "./adapter.ts"
import { binaryDecoder } from "./binary.ts"
import { cborDecoder } from "./cbor.ts"
import { csvDecoder } from "./csv.ts"
import { type Decoder } from "./decoder.ts"
import { senmlDecoder } from "./senml.ts"
import { sparkplugDecoder } from "./sparkplug.ts"
import { cayenneDecoder, tlvDecoder } from "./tlv.ts"

export const jsonDecoder: Decoder = {
  stateful: false,
  decode: (payload, limits) => Result.map(decodeJson(payload, limits), (root) => ({ root }))
}

const byName: Readonly<Record<Extract<ProtocolAdapter, string>, Decoder>> = {
  json: jsonDecoder,
  csv: csvDecoder({ delimiter: ",", rows: "one" }),
  cbor: cborDecoder,
  senml: senmlDecoder("json"),
  sparkplug_b: sparkplugDecoder
}

/** Compiles an adapter; what is wrong with it is added to `problems`. */
export const compileAdapter = (adapter: ProtocolAdapter, problems: Array<Problem>): Decoder => {
  if (typeof adapter === "string") return byName[adapter]
  if (!("kind" in adapter)) {
    const message = "A converter is resolved to its adapter before its device type is compiled; this one was not."
    problems.push({ path: "$.protocolAdapter.converterId", message })
    return jsonDecoder
  }
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
  }
}
