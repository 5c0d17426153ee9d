import { type ActivityTemplateChange } from "@argusiq/domain/http/activity-templates.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { ActivityTemplates } from "@argusiq/layers/activities/ActivityTemplates.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { basedOnVersion, withEtag } from "../versioned.ts"

interface ChangeRequest {
  readonly headers: { readonly "if-match"?: string }
  readonly params: { readonly id: string }
  readonly payload: ActivityTemplateChange
}

export const activityTemplates = HttpApiBuilder.group(
  RestApi,
  "activityTemplates",
  Effect.fnUntraced(function* (handlers) {
    const activityTemplates = yield* ActivityTemplates
    const change = ({ headers, params, payload }: ChangeRequest) =>
      basedOnVersion(headers, (caller, version) => activityTemplates.change(caller, params.id, payload, version)).pipe(
        orProblem,
        withEtag
      )

    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => activityTemplates.list(caller, query)).pipe(orProblem),
      create: ({ payload }) =>
        Effect.flatMap(Principal, (caller) => activityTemplates.create(caller, payload)).pipe(orProblem, withEtag),
      get: ({ params }) =>
        Effect.flatMap(Principal, (caller) => activityTemplates.get(caller, params.id)).pipe(orProblem, withEtag),
      change,
      replace: change,
      remove: ({ headers, params }) =>
        basedOnVersion(headers, (caller, version) => activityTemplates.remove(caller, params.id, version)).pipe(
          orProblem
        )
    })
  })
)
