import { type ScheduleChange } from "@argusiq/domain/http/schedules.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { Schedules } from "@argusiq/layers/activities/Schedules.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { basedOnVersion, withEtag } from "../versioned.ts"

interface ChangeRequest {
  readonly headers: { readonly "if-match"?: string }
  readonly params: { readonly id: string }
  readonly payload: ScheduleChange
}

export const schedules = HttpApiBuilder.group(
  RestApi,
  "schedules",
  Effect.fnUntraced(function* (handlers) {
    const schedules = yield* Schedules
    const change = ({ headers, params, payload }: ChangeRequest) =>
      basedOnVersion(headers, (caller, version) => schedules.change(caller, params.id, payload, version)).pipe(
        orProblem,
        withEtag
      )

    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => schedules.list(caller, query)).pipe(orProblem),
      create: ({ payload }) =>
        Effect.flatMap(Principal, (caller) => schedules.create(caller, payload)).pipe(orProblem, withEtag),
      get: ({ params }) =>
        Effect.flatMap(Principal, (caller) => schedules.get(caller, params.id)).pipe(orProblem, withEtag),
      change,
      replace: change,
      remove: ({ headers, params }) =>
        basedOnVersion(headers, (caller, version) => schedules.remove(caller, params.id, version)).pipe(orProblem)
    })
  })
)
