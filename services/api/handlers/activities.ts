import { type Step } from "@argusiq/domain/activity/progress.ts"
import { type ActivityChange } from "@argusiq/domain/http/activities.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { Activities } from "@argusiq/layers/activities/Activities.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { basedOn, basedOnVersion, withEtag } from "../versioned.ts"

interface Addressed {
  readonly headers: { readonly "if-match"?: string }
  readonly params: { readonly id: string }
}

export const activities = HttpApiBuilder.group(
  RestApi,
  "activities",
  Effect.fnUntraced(function* (handlers) {
    const activities = yield* Activities
    const change = ({ headers, params, payload }: Addressed & { readonly payload: ActivityChange }) =>
      basedOnVersion(headers, (caller, version) => activities.change(caller, params.id, payload, version)).pipe(
        orProblem,
        withEtag
      )
    const step =
      (step: Step) =>
      ({ headers, params, payload }: Addressed & { readonly payload?: { readonly note?: string } }) =>
        Effect.gen(function* () {
          const version = yield* basedOn(headers)
          const options = { note: payload?.note, basedOn: version }
          return yield* activities.step(yield* Principal, params.id, step, options)
        }).pipe(orProblem, withEtag)

    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => activities.list(caller, query)).pipe(orProblem),
      create: ({ payload }) =>
        Effect.flatMap(Principal, (caller) => activities.create(caller, payload)).pipe(orProblem, withEtag),
      createFromTemplate: ({ params, payload }) =>
        Effect.flatMap(Principal, (caller) => activities.createFromTemplate(caller, params.templateId, payload)).pipe(
          orProblem,
          withEtag
        ),
      get: ({ params }) =>
        Effect.flatMap(Principal, (caller) => activities.get(caller, params.id)).pipe(orProblem, withEtag),
      change,
      replace: change,
      remove: ({ headers, params }) =>
        basedOnVersion(headers, (caller, version) => activities.remove(caller, params.id, version)).pipe(orProblem),
      start: step("start"),
      complete: step("complete"),
      cancel: step("cancel"),
      events: ({ params }) =>
        Effect.flatMap(Principal, (caller) => activities.events(caller, params.id)).pipe(
          Effect.map((items) => ({ items })),
          orProblem
        ),
      changeItem: ({ headers, params, payload }) =>
        basedOnVersion(headers, (caller, version) => activities.changeItem(caller, params, payload, version)).pipe(
          orProblem,
          withEtag
        ),
      maintenance: ({ params, query }) =>
        Effect.flatMap(Principal, (caller) => activities.maintenanceOf(caller, params.id, query)).pipe(orProblem)
    })
  })
)
