import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { DeviceMessages } from "@argusiq/layers/telemetry/DeviceMessages.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"

export const deviceMessages = HttpApiBuilder.group(
  RestApi,
  "deviceMessages",
  Effect.fnUntraced(function* (handlers) {
    const messages = yield* DeviceMessages
    return handlers.handleAll({
      list: ({ params, query }) =>
        Effect.flatMap(Principal, (caller) => messages.list(caller, params.id, query)).pipe(orProblem)
    })
  })
)
