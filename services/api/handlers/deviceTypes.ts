import { tryPayload } from "@argusiq/domain/device-type-trial.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { Unprocessable } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { DeviceTypes, NotPublishable } from "@argusiq/layers/registry/DeviceTypes.ts"
import { Clock, Effect, Result } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { basedOn, withEtag } from "../versioned.ts"

export const deviceTypes = HttpApiBuilder.group(
  RestApi,
  "deviceTypes",
  Effect.fnUntraced(function* (handlers) {
    const types = yield* DeviceTypes
    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => types.list(caller, query)).pipe(orProblem),
      create: ({ payload }) =>
        Effect.flatMap(Principal, (caller) => types.create(caller, payload)).pipe(orProblem, withEtag),
      get: ({ params }) =>
        Effect.flatMap(Principal, (caller) => types.get(caller, params.id)).pipe(orProblem, withEtag),
      change: ({ headers, params, payload }) =>
        Effect.gen(function* () {
          const version = yield* basedOn(headers)
          return yield* types.change(yield* Principal, params.id, payload, version)
        }).pipe(orProblem, withEtag),
      versions: ({ params }) =>
        Effect.flatMap(Principal, (caller) => types.versions(caller, params.id)).pipe(
          Effect.map((items) => ({ items, nextCursor: null })),
          orProblem
        ),
      draft: ({ params, payload }) =>
        Effect.flatMap(Principal, (caller) => types.writeDraft(caller, params.id, payload.config, payload.note)).pipe(
          orProblem,
          withEtag
        ),
      publish: ({ params }) =>
        Effect.flatMap(Principal, (caller) => types.publish(caller, params.id)).pipe(orProblem, withEtag),
      test: ({ params, payload }) =>
        Effect.gen(function* () {
          const type = yield* types.get(yield* Principal, params.id)
          const config = payload.config ?? type.draft ?? type.config
          if (config === null) {
            return yield* new Unprocessable({ detail: "The device type has no configuration yet: send one along." })
          }
          const tried = tryPayload(config, payload.payload, (yield* Clock.currentTimeMillis) * 1_000)
          if (Result.isFailure(tried)) return yield* new NotPublishable({ faults: tried.failure })
          return Result.match(tried.success, {
            onFailure: ({ message, path, reason }) => ({
              readings: [],
              skipped: 0,
              error: { reason, message, path: path ?? null }
            }),
            onSuccess: ({ message, skipped }) => ({
              readings: message.readings.map(({ metrics, quality, ts }) => ({
                timestamp: isoFromMicros(ts),
                metrics,
                quality: quality ?? {}
              })),
              skipped,
              error: null
            })
          })
        }).pipe(orProblem)
    })
  })
)
