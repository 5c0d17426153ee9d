/**
 * What an MQTT broker hands over by HTTP: messages, answered with 202 once they are durable, and connects and disconnects.
 * @module
 */
import { BrokerEvent, BrokerMessage, IngestApi } from "@argusiq/domain/http/ingest.ts"
import { type DeviceProfile } from "@argusiq/domain/device-type.ts"
import { isUuid } from "@argusiq/domain/uuid.ts"
import { PipelineSql } from "@argusiq/layers/database/Sql.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { Effect, Option } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { DeviceConnections, type SeenConnection } from "../DeviceConnections.ts"
import { answer, busy, databaseAway } from "../http/refusal.ts"
import { type Incoming } from "../Incoming.ts"
import { Ingest } from "../Ingest.ts"
import { SecurityEvents } from "../SecurityEvents.ts"
import { makeAccess, makeLogin } from "./access.ts"
import { webhookBody } from "./webhook-body.ts"

const PUBLISH_TIMEOUT = "10 seconds"

type Request = HttpServerRequest.HttpServerRequest

const readMessages = webhookBody(BrokerMessage)
const readEvents = webhookBody(BrokerEvent)

/** The broker vouches for who published. */
const incoming = ({ clientid, payload, topic }: typeof BrokerMessage.Type): Incoming => ({
  origin: { source: "webhook", sender: undefined, clientId: clientid ?? undefined },
  topic,
  contentType: undefined,
  payload: Buffer.from(payload, "base64")
})

const takeMessages = Effect.fnUntraced(
  function* (request: Request) {
    const ingest = yield* Ingest
    if (ingest.budget.exhausted) return yield* busy
    const { isArray, items } = yield* readMessages(request, ingest.budget)
    const delivered = yield* ingest.deliver(items.map(incoming)).pipe(Effect.timeoutOption(PUBLISH_TIMEOUT))
    const ids = Option.getOrUndefined(delivered)
    if (ids === undefined) return yield* busy
    const stored = isArray ? { messageIds: ids } : { messageId: ids[0] }
    return HttpServerResponse.jsonUnsafe({ status: "accepted", ...stored }, { status: 202 })
  },
  Effect.scoped,
  Effect.catch(answer)
)

/** Of the user name, since the broker has checked it; anybody chooses a client id. */
const deviceIdOf = ({ username }: typeof BrokerEvent.Type) => (username ?? "").toLowerCase()

/** The reasons of brokers for ending a connection in favour of another with its client id, which they tell of as well. */
const takeovers: ReadonlySet<unknown> = new Set(["takenover", "takeover", "discarded"])

const seen = (
  { clientid, event, reason, timestamp }: typeof BrokerEvent.Type,
  { deviceId, tenantId }: DeviceProfile
): SeenConnection => ({
  deviceId,
  tenantId,
  connected: event === "client.connected",
  clientId: clientid,
  connectionId: clientid, // a broker has one connection of a client id at a time
  ...(typeof timestamp === "number" && { at: timestamp * 1000 }),
  ...(event === "client.disconnected" && typeof reason === "string" && { reason })
})

const takeEvents = Effect.fnUntraced(
  function* (request: Request) {
    const { budget } = yield* Ingest
    if (budget.exhausted) return yield* busy
    const { items } = yield* readEvents(request, budget)
    const named = items.map(deviceIdOf).filter(isUuid)
    const devices = yield* (yield* Profiles).devices(named)
    const known = items.flatMap((item) => {
      const device = devices.get(deviceIdOf(item))
      return device === undefined ? [] : [{ item, device }]
    })
    const told = known.filter(({ item }) => item.event === "client.connected" || !takeovers.has(item.reason))
    const connections = yield* DeviceConnections
    const delivered = yield* connections
      .deliver(told.map(({ device, item }) => seen(item, device)))
      .pipe(Effect.timeoutOption(PUBLISH_TIMEOUT))
    if (!Option.getOrElse(delivered, () => false)) return yield* busy
    return HttpServerResponse.jsonUnsafe({ known: known.length, unknown: items.length - known.length })
  },
  Effect.scoped,
  Effect.catchTag(["DatabaseUnavailable", "CacheUnavailable"], () => databaseAway),
  Effect.catch(answer)
)

/** The handlers of {@link IngestApi}'s broker webhooks. */
export const webhooks = HttpApiBuilder.group(
  IngestApi,
  "brokerWebhooks",
  Effect.fnUntraced(function* (handlers) {
    const context = yield* Effect.context<Ingest | Profiles | DeviceConnections>()
    const securityEvents = yield* SecurityEvents.make(yield* PipelineSql)
    const login = makeLogin(securityEvents)
    const access = makeAccess(securityEvents)
    return handlers
      .handleRaw("messages", ({ request }) => Effect.provide(takeMessages(request), context))
      .handleRaw("events", ({ request }) => Effect.provide(takeEvents(request), context))
      .handleRaw("auth", ({ request }) => Effect.provide(login(request), context))
      .handleRaw("acl", ({ request }) => Effect.provide(access(request), context))
  })
)
