import { Mail } from "@argusiq/layers/notifications/Mail.ts"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect } from "effect"
import { smtpReceiver } from "./receivers.ts"

const configured = (settings: Readonly<Record<string, string>>) =>
  Effect.map(Mail, ({ send }) => send).pipe(
    Effect.provide(Mail.layerConfig),
    Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnvRecord(settings))
  )

describe("e-mail", () => {
  it.live("is off without a server, also where the variable is empty", () =>
    Effect.gen(function* () {
      assert.isUndefined(yield* configured({}))
      assert.isUndefined(yield* configured({ SMTP_URL: "", SMTP_FROM: "argusiq@example.com" }))
    })
  )

  it.live("needs a sender", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(configured({ SMTP_URL: "smtp://127.0.0.1:25" }))
      assert.include(String(error), "SMTP_FROM")
    })
  )

  it.live("is no other protocol, and keeps the password to itself", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(configured({ SMTP_URL: "https://user:secret@example.com", SMTP_FROM: "a@b.c" }))
      assert.notInclude(String(error), "secret")
    })
  )

  it.live("leaves by the server that is set; its subject cannot add headers", () =>
    Effect.gen(function* () {
      const { letters, port } = yield* smtpReceiver()
      const settings = { SMTP_URL: `smtp://127.0.0.1:${port}`, SMTP_FROM: "argusiq@example.com" }
      yield* Effect.gen(function* () {
        const { send } = yield* Mail
        yield* send!({ id: "1", to: "a@example.com", subject: "Hot\r\nBcc: b@example.com", text: "Pump 7" })
      }).pipe(
        Effect.provide(Mail.layerConfig),
        Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnvRecord(settings))
      )
      assert.lengthOf(letters, 1)
      assert.deepStrictEqual(letters[0]?.to, ["a@example.com"])
      assert.notMatch(letters[0]!.text, /^Bcc:/m)
    }).pipe(Effect.scoped)
  )
})
