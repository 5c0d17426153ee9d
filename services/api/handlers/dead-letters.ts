import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { DeadLetters } from "@argusiq/layers/dead-letters/DeadLetters.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"

export const deadLetters = HttpApiBuilder.group(
  RestApi,
  "deadLetters",
  Effect.fnUntraced(function* (handlers) {
    const letters = yield* DeadLetters
    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => letters.list(caller, query)).pipe(orProblem),
      get: ({ params }) => Effect.flatMap(Principal, (caller) => letters.get(caller, params.id)).pipe(orProblem),
      retry: ({ payload }) => Effect.flatMap(Principal, (caller) => letters.retry(caller, payload)).pipe(orProblem)
    })
  })
)
