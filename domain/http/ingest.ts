/**
 * HTTP ingest: devices that speak no MQTT, each with its API key; and MQTT brokers that hand over what their devices sent,
 * with the secret that they share with the platform.
 * @module
 */
import { Context, Schema } from "effect"
import {
  HttpApi,
  HttpApiEndpoint,
  HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSchema,
  HttpApiSecurity,
  OpenApi
} from "effect/http-api"
import { Uuid } from "../ids.ts"
import {
  BodyTooLarge,
  Forbidden,
  InternalFault,
  InvalidRequest,
  TooManyRequests,
  Unauthenticated,
  Unavailable,
  Unprocessable
} from "./problems.ts"

/** Of one request, also when it is an array. */
export const MAX_MESSAGES_PER_REQUEST = 1_000

const deviceId = Schema.optionalKey(
  Schema.String.annotate({
    description: "The device's id or its external id. May be left out: the key belongs to one device."
  })
)

/** Metrics by name. What is stored as the message is the body as sent. */
export const MetricsMessage = Schema.Struct({
  deviceId,
  metrics: Schema.Record(Schema.String, Schema.Union([Schema.Finite, Schema.String, Schema.Boolean])),
  timestamp: Schema.optionalKey(
    Schema.Union([Schema.String, Schema.Finite]).annotate({
      description: "When it was measured: ISO 8601, or epoch seconds, milliseconds, microseconds or nanoseconds"
    })
  ),
  metadata: Schema.optionalKey(Schema.JsonObject)
}).annotate({ identifier: "MetricsMessage" })

/** The device's own JSON, of any form: what is stored as the message is the JSON of `payload`. */
export const PayloadMessage = Schema.Struct({ deviceId, payload: Schema.Json }).annotate({
  identifier: "PayloadMessage"
})

export const IngestMessage = Schema.Union([MetricsMessage, PayloadMessage])
export const IngestBody = Schema.Union([
  IngestMessage,
  Schema.Array(IngestMessage).check(Schema.isMinLength(1), Schema.isMaxLength(MAX_MESSAGES_PER_REQUEST))
])

const Accepted = Schema.Struct({ status: Schema.Literal("accepted"), messageId: Uuid }).annotate({
  identifier: "Accepted",
  httpApiStatus: 202
})
/** Of an array: one id per message, in its order. */
const AllAccepted = Schema.Struct({ status: Schema.Literal("accepted"), messageIds: Schema.Array(Uuid) }).annotate({
  identifier: "AllAccepted",
  httpApiStatus: 202
})

/** The device whose key a request carries. */
export class SendingDevice extends Context.Service<
  SendingDevice,
  { readonly deviceId: string; readonly tenantId: string }
>()("argusiq/domain/http/SendingDevice") {}

/** `Authorization: Bearer` or `X-API-Key` with a device API key. */
export class DeviceAuthorization extends HttpApiMiddleware.Service<DeviceAuthorization, { provides: SendingDevice }>()(
  "argusiq/domain/http/DeviceAuthorization",
  {
    requiredForClient: true,
    security: {
      deviceKey: HttpApiSecurity.bearer.pipe(HttpApiSecurity.annotate(OpenApi.Description, "A device API key")),
      deviceKeyHeader: HttpApiSecurity.apiKey({ key: "x-api-key", in: "header" }).pipe(
        HttpApiSecurity.annotate(OpenApi.Description, "A device API key")
      )
    },
    error: [Unauthenticated, Unavailable]
  }
) {}

const description =
  "One message, or an array of up to 1,000 that is accepted as a whole or not at all. 202 means: on disk. " +
  "A body of another content type than application/json is one message of the key's device, stored untouched and read " +
  "by the protocol adapter of its type; the content type itself decides nothing. " +
  "At most 8 MiB, after inflation when sent with Content-Encoding gzip. 429 and 503 carry Retry-After in seconds. " +
  "A message with a timestamp may be sent again after a 503 or a lost connection: its readings are stored once."

/** What devices send that speak no JSON. */
const untouched = [
  "application/octet-stream",
  "text/csv",
  "application/cbor",
  "application/senml+json",
  "application/senml+cbor"
] as const

const contract = {
  payload: [
    IngestBody,
    ...untouched.map((contentType) => HttpApiSchema.asUint8Array({ contentType })(Schema.Uint8Array))
  ],
  success: [Accepted, AllAccepted],
  error: [InvalidRequest, Forbidden, BodyTooLarge, Unprocessable, TooManyRequests, InternalFault, Unavailable]
} as const

export class IngestGroup extends HttpApiGroup.make("ingest")
  .add(
    HttpApiEndpoint.post("send", "/api/v1/telemetry", contract)
      .annotate(OpenApi.Summary, "Send what a device measured")
      .annotate(OpenApi.Description, description),
    HttpApiEndpoint.post("ingest", "/api/v1/telemetry/ingest", contract)
      .annotate(OpenApi.Summary, "The same as POST /api/v1/telemetry")
      .annotate(OpenApi.Description, description)
  )
  .middleware(DeviceAuthorization)
  .annotate(OpenApi.Title, "Ingest") {}

/** `X-Webhook-Secret` with the secret that broker and platform share. */
export class WebhookAuthorization extends HttpApiMiddleware.Service<WebhookAuthorization>()(
  "argusiq/domain/http/WebhookAuthorization",
  {
    requiredForClient: true,
    security: {
      webhookSecret: HttpApiSecurity.apiKey({ key: "x-webhook-secret", in: "header" }).pipe(
        HttpApiSecurity.annotate(
          OpenApi.Description,
          "WEBHOOK_SECRET, or the file webhook-secret in the data directory"
        )
      )
    },
    error: Unauthenticated
  }
) {}

const brokerText = Schema.optionalKey(Schema.NullOr(Schema.String))
const EpochMillis = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 8.64e15 })).annotate({
  description: "Epoch milliseconds"
})
const orArray = <S extends Schema.Top>(one: S) =>
  Schema.Union([one, Schema.Array(one).check(Schema.isMinLength(1), Schema.isMaxLength(MAX_MESSAGES_PER_REQUEST))])

/** A message as a broker received it. `timestamp`: when; what counts is when the platform takes it. */
export const BrokerMessage = Schema.Struct({
  topic: Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(65_535)),
  payload: Schema.String.check(
    Schema.makeFilter((text: string) => (text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text)) || "not base64")
  ).annotate({ description: "Base64" }),
  clientid: brokerText,
  username: brokerText,
  timestamp: Schema.optionalKey(Schema.NullOr(EpochMillis))
}).annotate({ identifier: "BrokerMessage" })

/** A connect or disconnect as a broker saw it. The device is the one that `username` names by its id. */
export const BrokerEvent = Schema.Struct({
  event: Schema.Literals(["client.connected", "client.disconnected"]),
  clientid: Schema.String,
  username: brokerText,
  timestamp: Schema.optionalKey(Schema.NullOr(EpochMillis)),
  reason: brokerText
}).annotate({ identifier: "BrokerEvent" })

const brokerWord = Schema.optionalKey(Schema.NullOr(Schema.String.check(Schema.isMaxLength(16_384))))

/** A client that asks a broker to be let in. What is empty counts as left out. The names are those of EMQX. */
export const BrokerLogin = Schema.Struct({
  clientid: Schema.String.check(Schema.isMaxLength(65_535)),
  username: brokerWord,
  password: brokerWord,
  cert_pem: Schema.optionalKey(
    Schema.NullOr(Schema.String.check(Schema.isMaxLength(65_536))).annotate({
      description: "The certificate that the broker has verified: PEM, or DER in base64"
    })
  ),
  cert_common_name: brokerWord,
  peerhost: brokerWord
}).annotate({
  identifier: "BrokerLogin",
  examples: [
    {
      clientid: "018f3c1e-0000-7000-8000-000000000001",
      username: "018f3c1e-0000-7000-8000-000000000001",
      password: "argusiq_…"
    }
  ]
})

/** As EMQX reads it. Ignore: it is none of the platform's devices, and others may decide. `client_attrs` and `expire_at` (epoch seconds) are there where the answer is allow. */
export const BrokerLoginAnswer = Schema.Struct({
  result: Schema.Literals(["allow", "deny", "ignore"]),
  is_superuser: Schema.Literal(false),
  client_attrs: Schema.optionalKey(Schema.Struct({ device_id: Schema.String, organization_id: Schema.String })),
  expire_at: Schema.optionalKey(Schema.Int)
}).annotate({ identifier: "BrokerLoginAnswer" })

/** What a client of a broker wants to do. The device is `device_id`, where the broker knows it, or the user name. */
export const BrokerAccess = Schema.Struct({
  action: Schema.Literals(["publish", "subscribe"]),
  topic: Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(65_535)),
  username: brokerWord,
  device_id: brokerWord,
  clientid: brokerText
}).annotate({
  identifier: "BrokerAccess",
  examples: [
    {
      action: "publish",
      topic: "devices/018f3c1e-0000-7000-8000-000000000001/telemetry",
      username: "018f3c1e-0000-7000-8000-000000000001"
    }
  ]
})

/** Ignore: the client is none of the platform's devices, and others may decide. */
export const BrokerAccessAnswer = Schema.Struct({ result: Schema.Literals(["allow", "deny", "ignore"]) }).annotate({
  identifier: "BrokerAccessAnswer"
})

const brokerRefusals = [InvalidRequest, BodyTooLarge, InternalFault, Unavailable] as const

export class BrokerWebhooks extends HttpApiGroup.make("brokerWebhooks")
  .add(
    HttpApiEndpoint.post("messages", "/ingest", {
      payload: orArray(BrokerMessage),
      success: [Accepted, AllAccepted],
      error: brokerRefusals
    })
      .annotate(OpenApi.Summary, "Messages that a broker took from its devices")
      .annotate(
        OpenApi.Description,
        "One message, or an array of up to 1,000, at most 16 MiB. 202 means: on disk. What addresses no device of the platform " +
          "is on disk too, among the dead letters with the reason, so that a broker need not send it again. 503 carries " +
          "Retry-After in seconds; some messages of an array may have been stored before it."
      ),
    HttpApiEndpoint.post("events", "/mqtt/events", {
      payload: orArray(BrokerEvent),
      success: Schema.Struct({ known: Schema.Int, unknown: Schema.Int }).annotate({ identifier: "BrokerEventsTaken" }),
      error: brokerRefusals
    })
      .annotate(OpenApi.Summary, "Connects and disconnects that a broker saw")
      .annotate(
        OpenApi.Description,
        "Connects and disconnects of devices, one or an array of up to 1,000. Those of clients whose user name is no device's " +
          "id are counted as unknown and left."
      ),
    HttpApiEndpoint.post("auth", "/mqtt/auth", {
      payload: BrokerLogin,
      success: BrokerLoginAnswer,
      error: brokerRefusals
    })
      .annotate(OpenApi.Summary, "Whether a broker lets a client in")
      .annotate(
        OpenApi.Description,
        "Whether a broker lets a client in, as EMQX's HTTP authentication asks: by the certificate that the broker has verified, or " +
          "by user name (the device's id or external id) and API key. The client id is the device's id, alone or followed by a " +
          "hyphen and more: a broker has one connection of a client id, whosever it is."
      ),
    HttpApiEndpoint.post("acl", "/mqtt/acl", {
      payload: BrokerAccess,
      success: BrokerAccessAnswer,
      error: brokerRefusals
    })
      .annotate(OpenApi.Summary, "Whether a broker lets a client publish or subscribe")
      .annotate(
        OpenApi.Description,
        "Whether a broker lets a client publish or subscribe, as EMQX's HTTP authorization asks: devices publish to their own " +
          "telemetry topics and subscribe to their own commands."
      )
  )
  .middleware(WebhookAuthorization)
  .annotate(OpenApi.Title, "Broker webhooks") {}

export class IngestApi extends HttpApi.make("ingest").add(IngestGroup, BrokerWebhooks) {}
