/**
 * Lets in who carries a device's API key.
 * @module
 */
import { DeviceAuthorization, SendingDevice } from "@argusiq/domain/http/ingest.ts"
import { Unauthenticated } from "@argusiq/domain/http/problems.ts"
import { noteSecurity } from "@argusiq/layers/audit/SecurityLog.ts"
import { Profiles } from "@argusiq/layers/profiles/Profiles.ts"
import { Effect, Layer, Redacted, Result } from "effect"
import { type HttpServerResponse } from "effect/http"
import { keyOwner } from "../DeviceLogin.ts"
import { databaseAway } from "./refusal.ts"

const unknownKey = new Unauthenticated({
  detail: "Send a valid device API key: Authorization: Bearer <key>, or X-API-Key: <key>."
})

export const layer: Layer.Layer<DeviceAuthorization, never, Profiles> = Layer.effect(
  DeviceAuthorization,
  Effect.gen(function* () {
    const profiles = yield* Profiles
    const check = Effect.fnUntraced(function* <E, R>(
      handler: Effect.Effect<HttpServerResponse.HttpServerResponse, E, R>,
      { credential }: { readonly credential: Redacted.Redacted }
    ) {
      const owner = yield* keyOwner(Redacted.value(credential)).pipe(
        Effect.provideService(Profiles, profiles),
        Effect.result
      )
      if (Result.isFailure(owner)) return yield* databaseAway
      if (owner.success === undefined) {
        yield* noteSecurity({ action: "device_sign_in_refused", entityType: "device" })
        return yield* unknownKey
      }
      const { deviceId, tenantId } = owner.success
      return yield* Effect.provideService(handler, SendingDevice, { deviceId, tenantId })
    })
    return DeviceAuthorization.of({ deviceKey: check, deviceKeyHeader: check })
  })
)
