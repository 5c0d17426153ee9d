import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { Users } from "@argusiq/layers/identity/Users.ts"
import { NotRegistered } from "@argusiq/layers/registry/refusals.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"

export const organization = HttpApiBuilder.group(
  RestApi,
  "organization",
  Effect.fnUntraced(function* (handlers) {
    const users = yield* Users
    return handlers.handle("get", () =>
      Effect.gen(function* () {
        const { tenantId } = yield* Principal
        const found = yield* users.organization(tenantId)
        return found ?? (yield* new NotRegistered({ what: "organization" }))
      }).pipe(orProblem)
    )
  })
)
