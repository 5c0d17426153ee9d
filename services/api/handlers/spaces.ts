import { Conflict } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { Documents } from "@argusiq/layers/registry/Documents.ts"
import { Spaces } from "@argusiq/layers/registry/Spaces.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { basedOn, basedOnVersion, withEtag } from "../versioned.ts"

const inUse = new Conflict({ detail: "The space holds other spaces or assets: remove or move them first." })

export const spaces = HttpApiBuilder.group(
  RestApi,
  "spaces",
  Effect.fnUntraced(function* (handlers) {
    const spaces = yield* Spaces
    const documents = yield* Documents
    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => spaces.list(caller, query)).pipe(orProblem),
      create: ({ payload }) =>
        Effect.flatMap(Principal, (caller) => spaces.create(caller, payload)).pipe(orProblem, withEtag),
      get: ({ params }) =>
        Effect.flatMap(Principal, (caller) => spaces.get(caller, params.id)).pipe(orProblem, withEtag),
      change: ({ headers, params, payload }) =>
        basedOnVersion(headers, (caller, version) => spaces.change(caller, params.id, payload, version)).pipe(
          orProblem,
          withEtag
        ),
      replace: ({ headers, params, payload }) =>
        basedOnVersion(headers, (caller, version) => spaces.change(caller, params.id, payload, version)).pipe(
          orProblem,
          withEtag
        ),
      remove: ({ headers, params }) =>
        Effect.gen(function* () {
          const version = yield* basedOn(headers)
          yield* documents.discard(yield* spaces.remove(yield* Principal, params.id, version))
        }).pipe(
          Effect.catchTag("BadReference", () => Effect.fail(inUse)),
          orProblem
        )
    })
  })
)
