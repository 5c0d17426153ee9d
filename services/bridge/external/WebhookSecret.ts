/**
 * Lets in brokers that know the webhook secret: that of the settings, or the one the installation made for itself.
 * @module
 */
import { WebhookAuthorization } from "@argusiq/domain/http/ingest.ts"
import { Unauthenticated } from "@argusiq/domain/http/problems.ts"
import { secretsDirectory, keptSecret, type SecretUnreadable } from "@argusiq/layers/identity/keptSecret.ts"
import { Config, Effect, Layer, Option, Redacted, Schema } from "effect"
import { hash, randomBytes, timingSafeEqual } from "node:crypto"
import { join } from "node:path"

/** As `WEBHOOK_SECRET` may be set. */
export const WebhookSecret = Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{16,512}$/))

/** A wrong value is not told. */
export class WebhookSecretWrong extends Schema.TaggedError<WebhookSecretWrong>()("WebhookSecretWrong", {}) {
  override get message() {
    return "WEBHOOK_SECRET is wrong. Allowed: 16 to 512 printable ASCII characters without blanks."
  }
}
const isSecret = Schema.is(WebhookSecret)

const secret = Effect.gen(function* () {
  const given = yield* Config.option(Config.Redacted("WEBHOOK_SECRET"))
  if (Option.isSome(given)) return isSecret(Redacted.value(given.value)) ? given.value : yield* new WebhookSecretWrong()
  const path = join(yield* secretsDirectory, "webhook-secret")
  const kept = yield* keptSecret(path, async () => `${randomBytes(32).toString("base64url")}\n`)
  return Redacted.make(kept.trim())
})

const refusal = new Unauthenticated({
  detail: "Send the secret that the platform and the broker share in the header X-Webhook-Secret."
})

/** Of equal length whatever was presented, so that the comparison tells nothing. */
const digest = (text: string) => hash("sha256", text, "buffer")

export const layer: Layer.Layer<WebhookAuthorization, Config.ConfigError | SecretUnreadable | WebhookSecretWrong> =
  Layer.effect(
    WebhookAuthorization,
    Effect.gen(function* () {
      const expected = digest(Redacted.value(yield* secret))
      return WebhookAuthorization.of({
        webhookSecret: (handler, { credential }) =>
          timingSafeEqual(digest(Redacted.value(credential)), expected) ? handler : Effect.fail(refusal)
      })
    })
  )
