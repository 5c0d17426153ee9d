/**
 * Sends a webhook to an address that a tenant has chosen: hostile by assumption. The host is resolved once and the connection
 * goes to exactly the address that was judged; redirects are not followed; time and the size of the answer are bounded.
 * @module
 */
import { Config, Context, Effect, Layer, Predicate, Schema } from "effect"
import { lookup } from "node:dns/promises"
import * as Http from "node:http"
import * as Https from "node:https"
import { isIP } from "node:net"
import { isPublicAddress } from "./publicAddress.ts"

/** It will never be sent: `message` says what is wrong with the address. */
export class WebhookRefused extends Schema.TaggedError<WebhookRefused>()("WebhookRefused", {
  message: Schema.String
}) {}
/** It was not taken: another attempt may succeed. `status`: of HTTP, where there was an answer. */
export class WebhookFailed extends Schema.TaggedError<WebhookFailed>()("WebhookFailed", {
  message: Schema.String,
  status: Schema.optionalKey(Schema.Int)
}) {}

export interface WebhookRequest {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** The addresses of a host name, as the system resolves them. Rejects when it cannot. */
export const HostResolver = Context.Reference<(host: string) => Promise<ReadonlyArray<string>>>(
  "argusiq/layers/notifications/HostResolver",
  { defaultValue: () => async (host) => (await lookup(host, { all: true })).map(({ address }) => address) }
)

export interface Limits {
  /** Whether private, loopback and link-local addresses are allowed. */
  readonly allowPrivate: boolean
  /** From the first look at the host to the end of the answer, in milliseconds. */
  readonly timeoutMillis: number
  /** Of an answer's body; the rest is not read. */
  readonly maxAnswerBytes: number
}
const usual = { timeoutMillis: 10_000, maxAnswerBytes: 65_536 }

export class WebhookSender extends Context.Service<
  WebhookSender,
  {
    /** Completes with the status when the receiver has taken it, which is any 2xx. */
    send(request: WebhookRequest): Effect.Effect<number, WebhookRefused | WebhookFailed>
  }
>()("argusiq/layers/notifications/WebhookSender") {
  static readonly layer = (limits: Limits) =>
    Layer.effect(
      WebhookSender,
      Effect.gen(function* () {
        const resolve = yield* HostResolver
        const send = Effect.fn("WebhookSender.send")((request: WebhookRequest) =>
          Effect.gen(function* () {
            const url = yield* readUrl(request.url)
            const address = yield* addressOf(url, resolve, limits)
            return yield* post(url, address, request, limits)
          }).pipe(
            Effect.timeoutOrElse({
              duration: limits.timeoutMillis,
              orElse: () => Effect.fail(new WebhookFailed({ message: `No answer within ${limits.timeoutMillis} ms` }))
            })
          )
        )
        return WebhookSender.of({ send })
      })
    )

  static readonly layerConfig = Layer.unwrap(
    Config.Boolean("WEBHOOK_ALLOW_PRIVATE_ADDRESSES").pipe(
      Config.withDefault(false),
      Config.map((allowPrivate) => WebhookSender.layer({ ...usual, allowPrivate }))
    )
  )
}

const readUrl = (text: string): Effect.Effect<URL, WebhookRefused> => {
  const refuse = (message: string) => Effect.fail(new WebhookRefused({ message }))
  if (!URL.canParse(text)) return refuse(`"${text.slice(0, 200)}" is not a URL`)
  const url = new URL(text)
  if (url.protocol !== "https:" && url.protocol !== "http:") return refuse("Only https:// and http:// are allowed")
  return url.username === "" && url.password === ""
    ? Effect.succeed(url)
    : refuse("A user name or password in the URL is not allowed")
}

/** A host that has any address which is not public is refused as a whole: nothing tells which one another look would give. */
const addressOf = Effect.fnUntraced(function* (
  url: URL,
  resolve: (host: string) => Promise<ReadonlyArray<string>>,
  { allowPrivate }: Limits
) {
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
  const addresses =
    isIP(host) === 0
      ? yield* Effect.tryPromise({
          try: () => resolve(host),
          catch: (cause) => new WebhookFailed({ message: `${host} cannot be resolved: ${wordsOf(cause)}` })
        })
      : [host]
  const [address] = addresses
  if (address === undefined) return yield* new WebhookFailed({ message: `${host} has no address` })
  const closed = allowPrivate ? undefined : addresses.find((one) => !isPublicAddress(one))
  if (closed === undefined) return address
  return yield* new WebhookRefused({
    message:
      `${host} has the address ${closed}, which is not public. ` +
      "WEBHOOK_ALLOW_PRIVATE_ADDRESSES=true allows webhooks into the platform's own network."
  })
})

const wordsOf = (cause: unknown): string => {
  if (Predicate.hasProperty(cause, "code") && typeof cause.code === "string") return cause.code
  return cause instanceof Error ? cause.message : String(cause)
}

const post = (url: URL, address: string, { body, headers }: WebhookRequest, { maxAnswerBytes }: Limits) =>
  Effect.callback<number, WebhookFailed>((resume) => {
    const isSecure = url.protocol === "https:"
    const host = url.hostname.replace(/^\[(.*)\]$/, "$1")
    const failed = (message: string, status?: number) =>
      resume(Effect.fail(new WebhookFailed({ message, ...(status !== undefined && { status }) })))
    const request = (isSecure ? Https : Http).request({
      agent: false, // no connection outlives its request
      method: "POST",
      host: address, // not the name: nothing is resolved a second time
      port: url.port === "" ? (isSecure ? 443 : 80) : Number(url.port),
      path: `${url.pathname}${url.search}`,
      ...(isSecure && isIP(host) === 0 && { servername: host }), // the certificate is the name's
      headers: {
        ...headers,
        host: url.host,
        "content-type": "application/json",
        "content-length": String(Buffer.byteLength(body)),
        connection: "close"
      }
    })
    request.on("error", (cause) => failed(`${url.host} (${address}): ${wordsOf(cause)}`))
    request.once("response", (response) => {
      const status = response.statusCode ?? 0
      const parts: Array<Buffer> = []
      let bytes = 0
      const end = () => {
        request.destroy()
        if (status >= 200 && status < 300) return resume(Effect.succeed(status))
        const said = Buffer.concat(parts).toString().slice(0, 500)
        const redirect = status >= 300 && status < 400 ? " (redirects are not followed)" : ""
        failed(`${url.host} answered ${status}${redirect}${said === "" ? "" : `: ${said}`}`, status)
      }
      response.on("data", (part: Buffer) => {
        bytes += part.byteLength
        if (bytes > maxAnswerBytes) return end()
        parts.push(part)
      })
      response.once("end", end)
      response.on("error", (cause) => failed(`${url.host}: ${wordsOf(cause)}`, status))
    })
    request.end(body)
    return Effect.sync(() => request.destroy())
  })
