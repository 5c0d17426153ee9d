import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { Alarms } from "@argusiq/layers/alarms/Alarms.ts"
import { Backtests } from "@argusiq/layers/alarms/Backtests.ts"
import { Events } from "@argusiq/layers/alarms/Events.ts"
import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { basedOnVersion } from "../versioned.ts"

const alarmHandlers = HttpApiBuilder.group(
  RestApi,
  "alarms",
  Effect.fnUntraced(function* (handlers) {
    const alarms = yield* Alarms
    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => alarms.list(caller, query)).pipe(orProblem),
      get: ({ params }) => Effect.flatMap(Principal, (caller) => alarms.get(caller, params.id)).pipe(orProblem),
      acknowledge: ({ headers, params }) =>
        basedOnVersion(headers, (caller, version) => alarms.acknowledge(caller, params.id, version)).pipe(orProblem),
      comment: ({ params, payload }) =>
        Effect.flatMap(Principal, (caller) => alarms.comment(caller, params.id, payload.body)).pipe(orProblem)
    })
  })
)

const eventHandlers = HttpApiBuilder.group(
  RestApi,
  "events",
  Effect.fnUntraced(function* (handlers) {
    const events = yield* Events
    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => events.list(caller, query)).pipe(orProblem),
      get: ({ params }) => Effect.flatMap(Principal, (caller) => events.get(caller, params.id)).pipe(orProblem),
      acknowledge: ({ params }) =>
        Effect.flatMap(Principal, (caller) => events.acknowledge(caller, params.id)).pipe(orProblem),
      dismiss: ({ params }) => Effect.flatMap(Principal, (caller) => events.dismiss(caller, params.id)).pipe(orProblem),
      comment: ({ params, payload }) =>
        Effect.flatMap(Principal, (caller) => events.comment(caller, params.id, payload.body)).pipe(orProblem)
    })
  })
)

const backtestHandlers = HttpApiBuilder.group(
  RestApi,
  "backtest",
  Effect.fnUntraced(function* (handlers) {
    const backtests = yield* Backtests
    return handlers.handleAll({
      run: ({ payload }) => Effect.flatMap(Principal, (caller) => backtests.run(caller, payload)).pipe(orProblem)
    })
  })
)

export const alarms = Layer.mergeAll(alarmHandlers, eventHandlers, backtestHandlers)
