/**
 * What is kept of a payload that is too large to be accepted.
 * @module
 */
import { hash } from "node:crypto"

/** How many bytes of an oversized payload are kept. */
export const KEPT_BYTES = 65_536

/** Headers that say what an oversized payload was, on a record that carries only its beginning. */
export interface OversizedHeaders {
  readonly "payload-bytes": string
  readonly "payload-sha256": string // hex, of the whole payload
}

/** The first 64 KiB as their own copy (so that the whole can be freed), with the length and SHA-256 of the whole. */
export const truncateOversized = (
  payload: Uint8Array
): { readonly value: Uint8Array; readonly headers: OversizedHeaders & Readonly<Record<string, string>> } => ({
  value: payload.slice(0, KEPT_BYTES),
  headers: { "payload-bytes": String(payload.byteLength), "payload-sha256": hash("sha256", payload, "hex") }
})
