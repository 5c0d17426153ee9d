import { type ActivityTypeChange } from "@argusiq/domain/http/activity-types.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { ActivityTypes } from "@argusiq/layers/activities/ActivityTypes.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { basedOnVersion, withEtag } from "../versioned.ts"

interface ChangeRequest {
  readonly headers: { readonly "if-match"?: string }
  readonly params: { readonly id: string }
  readonly payload: ActivityTypeChange
}

export const activityTypes = HttpApiBuilder.group(
  RestApi,
  "activityTypes",
  Effect.fnUntraced(function* (handlers) {
    const activityTypes = yield* ActivityTypes
    const change = ({ headers, params, payload }: ChangeRequest) =>
      basedOnVersion(headers, (caller, version) => activityTypes.change(caller, params.id, payload, version)).pipe(
        orProblem,
        withEtag
      )

    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => activityTypes.list(caller, query)).pipe(orProblem),
      create: ({ payload }) =>
        Effect.flatMap(Principal, (caller) => activityTypes.create(caller, payload)).pipe(orProblem, withEtag),
      get: ({ params }) =>
        Effect.flatMap(Principal, (caller) => activityTypes.get(caller, params.id)).pipe(orProblem, withEtag),
      change,
      replace: change,
      remove: ({ headers, params }) =>
        basedOnVersion(headers, (caller, version) => activityTypes.remove(caller, params.id, version)).pipe(orProblem)
    })
  })
)
