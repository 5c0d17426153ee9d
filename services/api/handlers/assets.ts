import { type AssetChange } from "@argusiq/domain/http/assets.ts"
import { Conflict } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { Assets } from "@argusiq/layers/registry/Assets.ts"
import { Documents } from "@argusiq/layers/registry/Documents.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { basedOn, basedOnVersion, withEtag } from "../versioned.ts"

const standingAbove = new Conflict({ detail: "Other assets are below this one: remove or move them first." })

interface ChangeRequest {
  readonly params: { readonly id: string }
  readonly headers: { readonly "if-match"?: string }
  readonly payload: AssetChange
}

export const assets = HttpApiBuilder.group(
  RestApi,
  "assets",
  Effect.fnUntraced(function* (handlers) {
    const assets = yield* Assets
    const documents = yield* Documents
    const change = ({ headers, params, payload }: ChangeRequest) =>
      basedOnVersion(headers, (caller, version) => assets.change(caller, params.id, payload, version)).pipe(
        orProblem,
        withEtag
      )

    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => assets.list(caller, query)).pipe(orProblem),
      create: ({ payload }) =>
        Effect.flatMap(Principal, (caller) => assets.create(caller, payload)).pipe(orProblem, withEtag),
      get: ({ params }) =>
        Effect.flatMap(Principal, (caller) => assets.get(caller, params.id)).pipe(orProblem, withEtag),
      children: ({ params, query }) =>
        Effect.gen(function* () {
          const caller = yield* Principal
          const parent = yield* assets.get(caller, params.id)
          return yield* assets.list(caller, { ...query, parentId: parent.id })
        }).pipe(orProblem),
      change,
      replace: change,
      remove: ({ headers, params }) =>
        Effect.gen(function* () {
          const version = yield* basedOn(headers)
          yield* documents.discard(yield* assets.remove(yield* Principal, params.id, version))
        }).pipe(
          Effect.catchTag("BadReference", () => Effect.fail(standingAbove)),
          orProblem
        )
    })
  })
)
