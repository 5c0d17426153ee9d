/**
 * Decoding for the tests of protocol adapters: a configuration as users write it, bytes as hex or text.
 * @module
 */
import { type Poison } from "@argusiq/domain/errors.ts"
import { ProtocolAdapter } from "@argusiq/domain/protocol/adapter.ts"
import { compileAdapter } from "@argusiq/domain/protocol/compile.ts"
import { type AliasTable, type Decoded, type Decoder } from "@argusiq/domain/protocol/decoder.ts"
import { structureLimits } from "@argusiq/domain/scan.ts"
import { Result, Schema } from "effect"

export const hex = (text: string): Uint8Array => Buffer.from(text.replaceAll(/\s/g, ""), "hex")
export const utf8 = (text: string): Uint8Array => new TextEncoder().encode(text)

const problemsAndDecoder = (
  adapter: unknown
): { readonly decoder: Decoder; readonly problems: ReadonlyArray<string> } => {
  const problems: Array<{ readonly path: string; readonly message: string }> = []
  const decoder = compileAdapter(Schema.decodeUnknownSync(ProtocolAdapter)(adapter), problems)
  return { decoder, problems: problems.map(({ message, path }) => `${path}: ${message}`) }
}

export const decoderOf = (adapter: unknown): Decoder => {
  const { decoder, problems } = problemsAndDecoder(adapter)
  if (problems.length > 0) throw new Error(problems.join("\n"))
  return decoder
}
export const problemsWith = (adapter: unknown): string => problemsAndDecoder(adapter).problems.join("\n")

const run = (adapter: unknown, payload: Uint8Array, aliases?: AliasTable): Result.Result<Decoded, Poison> =>
  decoderOf(adapter).decode(payload, structureLimits, aliases)

export const decoded = (adapter: unknown, payload: Uint8Array, aliases?: AliasTable): Decoded =>
  Result.getOrThrow(run(adapter, payload, aliases))
/** The document, as a rule reads it. */
export const document = (adapter: unknown, payload: Uint8Array): unknown => decoded(adapter, payload).root
export const refusal = (adapter: unknown, payload: Uint8Array, aliases?: AliasTable): Poison =>
  Result.getOrThrow(Result.flip(run(adapter, payload, aliases)))
