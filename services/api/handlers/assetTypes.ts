import { Conflict } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { AssetTypes } from "@argusiq/layers/registry/AssetTypes.ts"
import { pageOf } from "@argusiq/layers/registry/paging.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { basedOnVersion, withEtag } from "../versioned.ts"

const inUse = new Conflict({ detail: "Assets, profiles or child types name this type: give them another one first." })

export const assetTypes = HttpApiBuilder.group(
  RestApi,
  "assetTypes",
  Effect.fnUntraced(function* (handlers) {
    const types = yield* AssetTypes
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
        basedOnVersion(headers, (caller, version) => types.remove(caller, params.id, version)).pipe(
          Effect.catchTag("BadReference", () => Effect.fail(inUse)),
          orProblem
        ),
      dashboard: ({ params }) =>
        Effect.flatMap(Principal, (caller) => types.get(caller, params.id)).pipe(
          orProblem,
          withEtag,
          Effect.map(({ dashboard }) => dashboard)
        ),
      setDashboard: ({ headers, params, payload }) =>
        basedOnVersion(headers, (caller, version) =>
          types.change(caller, params.id, { dashboard: payload }, version)
        ).pipe(
          orProblem,
          withEtag,
          Effect.map(({ dashboard }) => dashboard)
        ),
      telemetryConfig: ({ params }) =>
        Effect.flatMap(Principal, (caller) => types.telemetryConfig(caller, params.id)).pipe(orProblem, withEtag),
      draft: ({ headers, params, payload }) =>
        basedOnVersion(headers, (caller, version) => types.changeDraft(caller, params.id, payload, version)).pipe(
          orProblem,
          withEtag
        ),
      publish: ({ headers, params }) =>
        basedOnVersion(headers, (caller, version) => types.publish(caller, params.id, version)).pipe(
          orProblem,
          withEtag
        ),
      versions: ({ params, query }) =>
        Effect.flatMap(Principal, (caller) => types.versions(caller, params.id)).pipe(
          Effect.flatMap((items) => pageOf(items, query, ({ number }) => String(number))),
          orProblem
        ),
      rollback: ({ headers, params, payload }) =>
        basedOnVersion(headers, (caller, version) => types.rollback(caller, params.id, payload, version)).pipe(
          orProblem,
          withEtag
        )
    })
  })
)
