/**
 * E-mail by SMTP. Off where SMTP_URL is not set.
 * @module
 */
import { Config, Context, Effect, Layer, Option, Predicate, Redacted, Schema } from "effect"
import { createTransport } from "nodemailer"

/** The server did not take it. `forGood`: it never will, for this address (SMTP 5xx). */
export class MailFailed extends Schema.TaggedError<MailFailed>()("MailFailed", {
  message: Schema.String,
  forGood: Schema.Boolean
}) {}

export interface Letter {
  /** The same at each attempt: becomes the Message-ID, by which mail programs know doubles. */
  readonly id: string
  readonly to: string
  readonly subject: string
  readonly text: string
}

export interface MailSettings {
  /** `smtp://user:password@host:587` or `smtps://…`. */
  readonly url: Redacted.Redacted
  readonly from: string
}

/** Undefined: e-mail is off. */
export class Mail extends Context.Service<
  Mail,
  { readonly send: ((letter: Letter) => Effect.Effect<void, MailFailed>) | undefined }
>()("argusiq/layers/notifications/Mail") {
  static readonly off = Layer.succeed(Mail, Mail.of({ send: undefined }))

  static readonly layer = ({ from, url }: MailSettings) =>
    Layer.effect(
      Mail,
      Effect.gen(function* () {
        const transport = yield* Effect.acquireRelease(
          Effect.sync(() =>
            createTransport({
              url: Redacted.value(url),
              connectionTimeout: 10_000,
              greetingTimeout: 10_000,
              socketTimeout: 20_000,
              disableFileAccess: true,
              disableUrlAccess: true
            })
          ),
          (transport) => Effect.sync(() => transport.close())
        )
        const send = Effect.fn("Mail.send")(({ id, subject, text, to }: Letter) =>
          Effect.tryPromise({
            try: () =>
              transport.sendMail({ from, to: { name: "", address: to }, subject, text, messageId: `<${id}@argusiq>` }),
            catch: (cause) => new MailFailed({ message: wordsOf(cause), forGood: isForGood(cause) })
          }).pipe(Effect.asVoid)
        )
        return Mail.of({ send })
      })
    )

  /** Fails where SMTP_URL is set and SMTP_FROM is not: no server takes a letter from nobody. */
  static readonly layerConfig = Layer.unwrap(
    Effect.gen(function* () {
      const url = yield* smtpUrl.pipe(Config.option)
      if (Option.isSome(url)) return Mail.layer({ url: url.value, from: yield* Config.NonEmptyString("SMTP_FROM") })
      yield* Effect.logInfo("E-mail is off: SMTP_URL is not set")
      return Mail.off
    })
  )
}

/** `smtp://` or `smtps://`. */
export const SmtpUrl = Schema.String.check(
  Schema.makeFilter(
    (url: string) => (URL.canParse(url) && /^smtps?:$/.test(new URL(url).protocol)) || "must be smtp:// or smtps://"
  )
)
const smtpUrl = Config.schema(Schema.Redacted(SmtpUrl), "SMTP_URL")

const wordsOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))

/** The server refuses this letter, not us: a wrong password (535) can be put right. */
const isForGood = (cause: unknown): boolean =>
  Predicate.hasProperty(cause, "responseCode") &&
  typeof cause.responseCode === "number" &&
  cause.responseCode >= 550 &&
  cause.responseCode < 560
