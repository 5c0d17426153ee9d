/**
 * Passwords: which are accepted, how they are kept (Argon2id, in the PHC string format), how they are checked.
 * @module
 */
import { argon2, randomBytes, timingSafeEqual } from "node:crypto"
import { Context, Effect, Layer, Redacted, Semaphore } from "effect"
import { isCommonPassword } from "./commonPasswords.ts"

export const minimumPasswordLength = 12

/** What is wrong with a password that somebody chose; undefined when it is accepted. */
export const passwordFault = (password: string, email: string): string | undefined => {
  if (password.length < minimumPasswordLength) return `must have at least ${minimumPasswordLength} characters`
  if (password.length > 1_000) return "must have at most 1000 characters"
  if (isCommonPassword(password)) return "is one of the most used passwords, or like one: choose another"
  if (password.toLowerCase() === email.toLowerCase()) return "must not be the e-mail address"
  return undefined
}

/** A password that nobody has to think of: 20 characters of 5 bits, in groups that can be read out. */
export const generatePassword = (): string => {
  const alphabet = "abcdefghjkmnpqrstuvwxyz23456789x" // 32 characters; without l, o, i, 0, 1
  const characters = Array.from(randomBytes(20), (byte) => alphabet[byte & 31]).join("")
  return characters.match(/.{5}/g)?.join("-") ?? characters
}

interface Parameters {
  readonly memory: number // KiB
  readonly passes: number
  readonly parallelism: number
}
const present: Parameters = { memory: 19_456, passes: 2, parallelism: 1 }

const derive = (
  password: string,
  nonce: Uint8Array,
  parameters: Parameters,
  tagLength: number
): Effect.Effect<Buffer> =>
  Effect.callback((resume) => {
    argon2("argon2id", { message: password.normalize("NFC"), nonce, tagLength, ...parameters }, (error, key) => {
      resume(error === null ? Effect.succeed(key) : Effect.die(error))
    })
  })

const base64 = (bytes: Uint8Array) => Buffer.from(bytes).toString("base64").replaceAll("=", "")
const phc = /^\$argon2id\$v=19\$m=(\d+),t=(\d+),p=(\d+)\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)$/

export class Passwords extends Context.Service<
  Passwords,
  {
    hash(password: Redacted.Redacted): Effect.Effect<string>
    /** Takes as long without a hash (an unknown user) as with one, and answers false then. */
    verify(password: Redacted.Redacted, hash: string | null | undefined): Effect.Effect<boolean>
  }
>()("argusiq/layers/identity/Passwords") {
  static readonly layer = Layer.effect(
    Passwords,
    Effect.gen(function* () {
      // Each derivation takes 19 MiB and a core for about 30 ms: a flood of logins waits instead of filling the memory.
      const atOnce = yield* Semaphore.make(2)
      const hash = Effect.fn("Passwords.hash")(function* (password: Redacted.Redacted) {
        const nonce = randomBytes(16)
        const key = yield* atOnce.withPermits(1)(derive(Redacted.value(password), nonce, present, 32))
        const { memory, passes, parallelism } = present
        return `$argon2id$v=19$m=${memory},t=${passes},p=${parallelism}$${base64(nonce)}$${base64(key)}`
      })
      const nobodys = yield* hash(Redacted.make(randomBytes(16).toString("hex")))
      const verify = Effect.fn("Passwords.verify")(function* (
        password: Redacted.Redacted,
        stored: string | null | undefined
      ) {
        const [, memory, passes, parallelism, nonce, key] = phc.exec(stored ?? nobodys) ?? phc.exec(nobodys) ?? []
        if (nonce === undefined || key === undefined) return false
        const expected = Buffer.from(key, "base64")
        const parameters = { memory: Number(memory), passes: Number(passes), parallelism: Number(parallelism) }
        const derived = yield* atOnce.withPermits(1)(
          derive(Redacted.value(password), Buffer.from(nonce, "base64"), parameters, expected.length)
        )
        return timingSafeEqual(derived, expected) && typeof stored === "string" && phc.test(stored)
      })
      return Passwords.of({ hash, verify })
    })
  )
}
