import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { TransactionList } from "@argusiq/layers/telemetry/TransactionList.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"

export const transactions = HttpApiBuilder.group(
  RestApi,
  "transactions",
  Effect.fnUntraced(function* (handlers) {
    const transactions = yield* TransactionList
    return handlers.handleAll({
      list: ({ query }) =>
        Effect.flatMap(Principal, ({ tenantId }) => transactions.list(tenantId, query)).pipe(orProblem)
    })
  })
)
