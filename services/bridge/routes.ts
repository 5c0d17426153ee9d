/**
 * HTTP ingest: checks a request as a whole, answers 202 once all its messages are durable, and stores nothing of what it
 * refuses.
 * @module
 */
import { type DeviceProfile } from "@argusiq/domain/device-type.ts"
import { effectiveVersion } from "@argusiq/domain/effective.ts"
import { IngestApi, SendingDevice } from "@argusiq/domain/http/ingest.ts"
import { Forbidden, InvalidRequest, Unauthenticated, Unprocessable } from "@argusiq/domain/http/problems.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { RateLimit } from "@argusiq/layers/rate-limit/RateLimit.ts"
import { Config, Effect, Layer, Option, Result } from "effect"
import { type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { nextReceivedAt } from "./Arrivals.ts"
import { isNameOf } from "./DeviceLogin.ts"
import * as webhookSecret from "./external/WebhookSecret.ts"
import { webhooks } from "./external/webhooks.ts"
import * as deviceAuthorization from "./http/device-authorization.ts"
import { readBody } from "./http/message-body.ts"
import { answer, busy, databaseAway, tooOften } from "./http/refusal.ts"
import { readRequestBody } from "./http/request-body.ts"
import { type Origin } from "./Incoming.ts"
import { Ingest } from "./Ingest.ts"

const PUBLISH_TIMEOUT = "10 seconds"

const settings = Config.all({
  ratePerMinute: Config.Int("TELEMETRY_RATE_LIMIT_PER_MINUTE").pipe(Config.withDefault(100))
})

/** The device's own limit where its type sets one. Without the database the general limit serves. */
const rateLimitOf = Effect.fnUntraced(
  function* (device: DeviceProfile) {
    const types = yield* (yield* Profiles).deviceTypes([device.deviceTypeId])
    const version = effectiveVersion(types.get(device.deviceTypeId)?.versions ?? [], nextReceivedAt())
    if (version === undefined || Result.isFailure(version.compiled)) return undefined
    return version.compiled.success.config.rateLimitPerMinute
  },
  Effect.orElseSucceed(() => undefined)
)

const profileOf = Effect.fnUntraced(function* (deviceId: string) {
  const profiles = yield* Profiles
  return profiles.cachedDevice(deviceId) ?? (yield* profiles.devices([deviceId])).get(deviceId)
})

const receive = Effect.fnUntraced(
  function* (request: HttpServerRequest.HttpServerRequest, ratePerMinute: number) {
    const ingest = yield* Ingest
    const sender = yield* SendingDevice
    if (ingest.budget.exhausted) return yield* busy
    const device = yield* profileOf(sender.deviceId)
    if (device === undefined) return yield* new Unauthenticated({ detail: "The key's device does not exist any more." })

    const perMinute = (yield* rateLimitOf(device)) ?? ratePerMinute
    const permit = yield* (yield* RateLimit).take(sender.deviceId, perMinute)
    if (permit._tag === "Exceeded") return yield* tooOften(perMinute, permit.retryAfterSeconds)

    const read = readBody(yield* readRequestBody(request, ingest.budget), request.headers["content-type"])
    if (Result.isFailure(read)) return yield* new InvalidRequest({ errors: read.failure })
    const { isArray, messages } = read.success
    for (const { deviceId, deviceIdPath } of messages) {
      if (deviceId !== undefined && !(yield* isNameOf(sender, deviceId))) {
        return yield* new Forbidden({
          errors: [{ path: deviceIdPath, message: "The API key belongs to another device." }]
        })
      }
    }
    if (device.status === "decommissioned") {
      return yield* new Unprocessable({
        detail: `Device ${device.deviceId} is decommissioned, which is final. Create a device for what replaces it.`
      })
    }

    const origin: Origin = { source: "http", sender, clientId: undefined }
    const accepted = yield* ingest
      .accept(
        messages.map(({ contentType, payload }) => ({
          origin,
          topic: undefined,
          contentType,
          payload,
          traceparent: request.headers["traceparent"]
        })),
        device
      )
      .pipe(Effect.timeoutOption(PUBLISH_TIMEOUT))
    const ids = Option.getOrUndefined(accepted)
    if (ids === undefined) return yield* busy
    const stored = isArray ? { messageIds: ids } : { messageId: ids[0] }
    return HttpServerResponse.jsonUnsafe({ status: "accepted", ...stored }, { status: 202 })
  },
  Effect.scoped,
  Effect.catchTag(["DatabaseUnavailable", "CacheUnavailable"], () => databaseAway),
  Effect.catch(answer)
)

const group = HttpApiBuilder.group(
  IngestApi,
  "ingest",
  Effect.fnUntraced(function* (handlers) {
    const { ratePerMinute } = yield* settings
    const context = yield* Effect.context<Ingest | Profiles | RateLimit>()
    const handle = ({ request }: { readonly request: HttpServerRequest.HttpServerRequest }) =>
      Effect.provide(receive(request, ratePerMinute), context)
    return handlers.handleRaw("send", handle).handleRaw("ingest", handle)
  })
)

/** Adds the routes of {@link IngestApi} to the router. */
export const routes = HttpApiBuilder.layer(IngestApi).pipe(
  Layer.provide([group, webhooks]),
  Layer.provide([deviceAuthorization.layer, webhookSecret.layer])
)
