import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { AssetGroups } from "@argusiq/layers/registry/AssetGroups.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { basedOnVersion, withEtag } from "../versioned.ts"

export const assetGroups = HttpApiBuilder.group(
  RestApi,
  "assetGroups",
  Effect.fnUntraced(function* (handlers) {
    const groups = yield* AssetGroups
    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => groups.list(caller, query)).pipe(orProblem),
      create: ({ payload }) =>
        Effect.flatMap(Principal, (caller) => groups.create(caller, payload)).pipe(orProblem, withEtag),
      get: ({ params }) =>
        Effect.flatMap(Principal, (caller) => groups.get(caller, params.id)).pipe(orProblem, withEtag),
      change: ({ headers, params, payload }) =>
        basedOnVersion(headers, (caller, version) => groups.change(caller, params.id, payload, version)).pipe(
          orProblem,
          withEtag
        ),
      replace: ({ headers, params, payload }) =>
        basedOnVersion(headers, (caller, version) => groups.change(caller, params.id, payload, version)).pipe(
          orProblem,
          withEtag
        ),
      remove: ({ headers, params }) =>
        basedOnVersion(headers, (caller, version) => groups.remove(caller, params.id, version)).pipe(orProblem)
    })
  })
)
