import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { Deliveries } from "@argusiq/layers/notifications/Deliveries.ts"
import { Notifications } from "@argusiq/layers/notifications/Notifications.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"

export const notifications = HttpApiBuilder.group(
  RestApi,
  "notifications",
  Effect.fnUntraced(function* (handlers) {
    const notifications = yield* Notifications
    const deliveries = yield* Deliveries

    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => notifications.list(caller, query)).pipe(orProblem),
      unreadCount: () =>
        Effect.flatMap(Principal, (caller) => notifications.unreadCount(caller)).pipe(
          Effect.map((count) => ({ count })),
          orProblem
        ),
      readAll: () =>
        Effect.gen(function* () {
          const caller = yield* Principal
          yield* notifications.readAll(caller)
          return { count: yield* notifications.unreadCount(caller) }
        }).pipe(orProblem),
      read: ({ params }) =>
        Effect.flatMap(Principal, (caller) => notifications.read(caller, params.id)).pipe(orProblem),
      emails: ({ query }) => Effect.flatMap(Principal, (caller) => deliveries.emails(caller, query)).pipe(orProblem),
      webhooks: ({ query }) =>
        Effect.flatMap(Principal, (caller) => deliveries.webhooks(caller, query)).pipe(orProblem),
      retryWebhook: ({ params }) =>
        Effect.flatMap(Principal, (caller) => deliveries.retryWebhook(caller, params.id)).pipe(orProblem),
      secret: () => Effect.flatMap(Principal, (caller) => deliveries.secret(caller)).pipe(orProblem),
      changeSecret: () => Effect.flatMap(Principal, (caller) => deliveries.changeSecret(caller)).pipe(orProblem)
    })
  })
)
