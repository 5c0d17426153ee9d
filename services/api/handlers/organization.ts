import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { TenantId } from "@argusiq/domain/ids.ts"
import { Organizations } from "@argusiq/layers/identity/Organizations.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { basedOn, basedOnVersion, withEtag } from "../versioned.ts"

export const organization = HttpApiBuilder.group(
  RestApi,
  "organization",
  Effect.fnUntraced(function* (handlers) {
    const organizations = yield* Organizations
    return handlers.handleAll({
      get: () => Effect.flatMap(Principal, ({ tenantId }) => organizations.get(tenantId)).pipe(orProblem, withEtag),
      change: ({ headers, payload }) =>
        Effect.gen(function* () {
          const version = yield* basedOn(headers)
          const caller = yield* Principal
          return yield* organizations.change(caller, caller.tenantId, payload, version)
        }).pipe(orProblem, withEtag)
    })
  })
)

interface ChangeRequest {
  readonly params: { readonly id: string }
  readonly headers: { readonly "if-match"?: string }
  readonly payload: Parameters<(typeof Organizations.Service)["change"]>[2]
}

export const organizations = HttpApiBuilder.group(
  RestApi,
  "organizations",
  Effect.fnUntraced(function* (handlers) {
    const organizations = yield* Organizations
    const change = ({ headers, params, payload }: ChangeRequest) =>
      basedOnVersion(headers, (caller, version) =>
        organizations.change(caller, TenantId.make(params.id), payload, version)
      ).pipe(orProblem, withEtag)
    return handlers.handleAll({
      list: ({ query }) => orProblem(organizations.list(query)),
      create: ({ payload }) =>
        Effect.flatMap(Principal, (caller) => organizations.create(caller, payload)).pipe(orProblem, withEtag),
      get: ({ params }) => organizations.get(TenantId.make(params.id)).pipe(orProblem, withEtag),
      change,
      replace: change
    })
  })
)
