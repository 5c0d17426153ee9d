import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { type UserChange } from "@argusiq/domain/http/users.ts"
import { Members } from "@argusiq/layers/identity/Members.ts"
import { Effect, Redacted } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { basedOn, basedOnVersion, withEtag } from "../versioned.ts"

interface ChangeRequest {
  readonly params: { readonly id: string }
  readonly headers: { readonly "if-match"?: string }
  readonly payload: UserChange
}

export const users = HttpApiBuilder.group(
  RestApi,
  "users",
  Effect.fnUntraced(function* (handlers) {
    const members = yield* Members
    const change = ({ headers, params, payload }: ChangeRequest) =>
      basedOnVersion(headers, (caller, version) => members.change(caller, params.id, payload, version)).pipe(
        orProblem,
        withEtag
      )

    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => members.list(caller, query)).pipe(orProblem),
      create: ({ payload }) =>
        Effect.flatMap(Principal, (caller) => members.create(caller, payload)).pipe(orProblem, withEtag),
      get: ({ params }) =>
        Effect.flatMap(Principal, (caller) => members.get(caller, params.id)).pipe(orProblem, withEtag),
      change,
      replace: change,
      remove: ({ headers, params }) =>
        Effect.gen(function* () {
          const version = yield* basedOn(headers)
          yield* members.remove(yield* Principal, params.id, version)
        }).pipe(orProblem),
      setPassword: ({ params, payload }) =>
        Effect.flatMap(Principal, (caller) =>
          members.setPassword(
            caller,
            params.id,
            payload?.password === undefined ? undefined : Redacted.make(payload.password)
          )
        ).pipe(orProblem)
    })
  })
)
