/**
 * The token with which the `argusiq` command reaches its own installation: whoever can read its secrets has it.
 * @module
 */
import { hash, randomBytes, timingSafeEqual } from "node:crypto"
import { join } from "node:path"
import { Context, Effect, Layer } from "effect"
import { secretsDirectory, keptSecret } from "./keptSecret.ts"

const prefix = "argusiq_cli_"
const digest = (text: string) => hash("sha256", text, "buffer")

export class CommandLineToken extends Context.Service<
  CommandLineToken,
  {
    readonly isToken: (presented: string) => boolean
  }
>()("argusiq/layers/identity/CommandLineToken") {
  /** `cli-token` in the secrets directory, made when it is missing. */
  static readonly layer = Layer.effect(
    CommandLineToken,
    Effect.gen(function* () {
      const path = join(yield* secretsDirectory, "cli-token")
      const token = yield* keptSecret(path, () =>
        Promise.resolve(`${prefix}${randomBytes(32).toString("base64url")}\n`)
      )
      const expected = digest(token.trim())
      return CommandLineToken.of({
        isToken: (presented) => presented.startsWith(prefix) && timingSafeEqual(digest(presented), expected)
      })
    })
  )
}
