/**
 * Serial numbers: random, so that nobody can guess the next one, and positive.
 * @module
 */
import { randomBytes } from "node:crypto"

/** 128 bits, hex; the highest bit is 0 and one of the highest byte's others is set, so that its length is always the same. */
export const randomSerial = (): string => {
  const bytes = randomBytes(16)
  bytes[0] = (bytes[0]! & 0x7f) | 0x40
  return bytes.toString("hex")
}
