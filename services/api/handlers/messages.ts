import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { MessageTraces } from "@argusiq/layers/trace/MessageTraces.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"

export const messages = HttpApiBuilder.group(
  RestApi,
  "messages",
  Effect.fnUntraced(function* (handlers) {
    const traces = yield* MessageTraces
    return handlers.handleAll({
      trace: ({ params }) =>
        Effect.flatMap(Principal, (reader) => traces.trace(reader, params.messageId)).pipe(orProblem)
    })
  })
)
