/**
 * Seals what must not lie open in the database, with a key that the installation makes for itself and keeps in its secrets
 * directory: AES-256-GCM, a random nonce before the text and its tag behind it.
 * @module
 */
import { Effect } from "effect"
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from "node:crypto"
import { join } from "node:path"
import { keptSecret, secretsDirectory } from "../identity/keptSecret.ts"

const NONCE_BYTES = 12
const TAG_BYTES = 16

/** The installation's sealing key as it lies on disk. */
export const sealingSecret = Effect.gen(function* () {
  const path = join(yield* secretsDirectory, "sealing-key")
  return (yield* keptSecret(path, async () => `${randomBytes(32).toString("base64url")}\n`)).trim()
})

export interface Sealing {
  /** `context`: what it belongs to; it opens for that alone. */
  seal(text: Uint8Array, context: string): Buffer
  /** Undefined: sealed with another key, for another context, or changed since. */
  open(sealed: Uint8Array, context: string): Buffer | undefined
}

/** `purpose`: seals of one purpose do not open those of another. */
export const sealingWith = (secret: string, purpose: string): Sealing => {
  const key = createHmac("sha256", Buffer.from(secret, "base64url")).update(purpose).digest()
  return {
    seal(text, context) {
      const nonce = randomBytes(NONCE_BYTES)
      const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(context))
      return Buffer.concat([nonce, cipher.update(text), cipher.final(), cipher.getAuthTag()])
    },
    open(sealed, context) {
      if (sealed.length < NONCE_BYTES + TAG_BYTES) return undefined
      const decipher = createDecipheriv("aes-256-gcm", key, sealed.subarray(0, NONCE_BYTES))
        .setAAD(Buffer.from(context))
        .setAuthTag(sealed.subarray(sealed.length - TAG_BYTES))
      try {
        const text = decipher.update(sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES))
        return Buffer.concat([text, decipher.final()])
      } catch {
        return undefined
      }
    }
  }
}
