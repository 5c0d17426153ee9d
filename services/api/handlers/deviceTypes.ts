import { tryPayload } from "@argusiq/domain/device-type-trial.ts"
import { type TrialResult } from "@argusiq/domain/http/device-types.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { Unprocessable } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { storableJson } from "@argusiq/domain/storable.ts"
import { type TrialRun } from "@argusiq/domain/trial-run.ts"
import { DeviceTypes } from "@argusiq/layers/registry/DeviceTypes.ts"
import { pageOf } from "@argusiq/layers/registry/paging.ts"
import { NotPublishable } from "@argusiq/layers/registry/resolvedConfig.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { withExpressions } from "@argusiq/layers/sandbox/withExpressions.ts"
import { Clock, Effect, Result } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { trialProblem } from "../trialProblem.ts"
import { basedOnVersion, withEtag } from "../versioned.ts"

const toResult = ({ documents, entries, failures, readings, skipped, whole }: TrialRun): TrialResult => {
  const [first] = failures
  return {
    readings: readings.map(({ identifier, reading: { metrics, port, quality, ts } }) => ({
      timestamp: isoFromMicros(ts),
      metrics,
      quality: quality ?? {},
      identifier: identifier ?? null,
      port: port ?? null
    })),
    skipped,
    error: first === undefined ? null : trialProblem(first.error),
    documents: documents.map(storableJson),
    whole: whole === undefined ? null : storableJson(whole),
    entries: entries.map(({ extracted, identifier, index, payload, port }) => ({
      index,
      identifier: identifier ?? null,
      port: port ?? null,
      payload: storableJson(payload),
      extracted:
        extracted === undefined
          ? null
          : { metrics: extracted.metrics, quality: extracted.quality, skipped: extracted.skipped }
    })),
    deadLetters: failures.map(({ entry, error, message }) => ({
      payload: message,
      entry: entry ?? null,
      ...trialProblem(error)
    }))
  }
}

export const deviceTypes = HttpApiBuilder.group(
  RestApi,
  "deviceTypes",
  Effect.fnUntraced(function* (handlers) {
    const types = yield* DeviceTypes
    const sandbox = yield* Sandbox
    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => types.list(caller, query)).pipe(orProblem),
      create: ({ payload }) =>
        Effect.flatMap(Principal, (caller) => types.create(caller, payload)).pipe(orProblem, withEtag),
      get: ({ params }) =>
        Effect.flatMap(Principal, (caller) => types.get(caller, params.id)).pipe(orProblem, withEtag),
      change: ({ headers, params, payload }) =>
        basedOnVersion(headers, (caller, version) => types.change(caller, params.id, payload, version)).pipe(
          orProblem,
          withEtag
        ),
      replace: ({ headers, params, payload }) =>
        basedOnVersion(headers, (caller, version) => types.change(caller, params.id, payload, version)).pipe(
          orProblem,
          withEtag
        ),
      remove: ({ headers, params }) =>
        basedOnVersion(headers, (caller, version) => types.remove(caller, params.id, version)).pipe(orProblem),
      versions: ({ params, query }) =>
        Effect.flatMap(Principal, (caller) => types.versions(caller, params.id)).pipe(
          Effect.flatMap((items) => pageOf(items, query, ({ number }) => String(number))),
          orProblem
        ),
      draft: ({ headers, params, payload }) =>
        basedOnVersion(headers, (caller, version) => types.writeDraft(caller, params.id, payload, version)).pipe(
          orProblem,
          withEtag
        ),
      publish: ({ headers, params }) =>
        basedOnVersion(headers, (caller, version) => types.publish(caller, params.id, version)).pipe(
          orProblem,
          withEtag
        ),
      rollback: ({ headers, params, payload }) =>
        basedOnVersion(headers, (caller, version) => types.rollback(caller, params.id, payload, version)).pipe(
          orProblem,
          withEtag
        ),
      test: ({ params, payload: { config: sent, encoding, payload } }) =>
        Effect.gen(function* () {
          const caller = yield* Principal
          const type = yield* types.get(caller, params.id)
          const chosen = sent ?? type.draft ?? type.config
          if (chosen === null) {
            return yield* new Unprocessable({ detail: "The device type has no configuration yet: send one along." })
          }
          const { childType, config } = yield* types.resolve(caller, chosen)
          const now = (yield* Clock.currentTimeMillis) * 1_000
          const tried = yield* withExpressions(sandbox, (evaluate) =>
            tryPayload(config, payload, now, childType, encoding, evaluate)
          )
          if (Result.isFailure(tried)) return yield* new NotPublishable({ faults: tried.failure })
          return toResult(tried.success)
        }).pipe(orProblem)
    })
  })
)
