/**
 * How a webhook's receiver knows that it is us: an HMAC-SHA256 over time and body, in the manner of Stripe's signatures.
 * @module
 */
import { createHmac, timingSafeEqual } from "node:crypto"

/** How far apart clocks, and how old a request, may be for a receiver. */
export const TOLERANCE_SECONDS = 300

const macOf = (secret: string, at: number, body: string): string =>
  createHmac("sha256", secret).update(`${at}.${body}`).digest("hex")

/** The header's value: `t={epoch seconds},v1={hex}`, with one `v1` per secret while a secret is being changed. */
export const signatureHeader = (secrets: ReadonlyArray<string>, at: number, body: string): string =>
  [`t=${at}`, ...secrets.map((secret) => `v1=${macOf(secret, at, body)}`)].join(",")

/** What a receiver does: whether the header was made with this secret for this body, and lately. `now`: epoch seconds. */
export const isSigned = (secret: string, header: string, body: string, now: number): boolean => {
  const parts = header.split(",").map((part) => part.split("=", 2) as [string, string?])
  const at = Number(parts.find(([name]) => name === "t")?.[1])
  if (!Number.isSafeInteger(at) || Math.abs(now - at) > TOLERANCE_SECONDS) return false
  const expected = Buffer.from(macOf(secret, at, body))
  return parts.some(([name, value = ""]) => {
    const given = Buffer.from(value)
    return name === "v1" && given.byteLength === expected.byteLength && timingSafeEqual(given, expected)
  })
}
