import { RestApi } from "@argusiq/domain/http/rest.ts"
import { type NewRule, type RuleChange, type RuleQuery } from "@argusiq/domain/http/rules.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { Rules } from "@argusiq/layers/registry/Rules.ts"
import { Effect, Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { pageOf } from "@argusiq/layers/registry/paging.ts"
import { orProblem } from "../refusals.ts"
import { basedOnVersion, withEtag } from "../versioned.ts"

interface Named {
  readonly params: { readonly id: string }
}
interface Based extends Named {
  readonly headers: { readonly "if-match"?: string }
}

/** The same for both names of the group. */
const handlersOf = Effect.map(Rules, (rules) => {
  const change = ({ headers, params, payload }: Based & { readonly payload: RuleChange }) =>
    basedOnVersion(headers, (caller, version) => rules.change(caller, params.id, payload, version)).pipe(
      orProblem,
      withEtag
    )
  return {
    list: ({ query }: { readonly query: RuleQuery }) =>
      Effect.flatMap(Principal, (caller) => rules.list(caller, query)).pipe(orProblem),
    create: ({ payload }: { readonly payload: NewRule }) =>
      Effect.flatMap(Principal, (caller) => rules.create(caller, payload)).pipe(orProblem, withEtag),
    get: ({ params }: Named) =>
      Effect.flatMap(Principal, (caller) => rules.get(caller, params.id)).pipe(orProblem, withEtag),
    change,
    replace: change,
    remove: ({ headers, params }: Based) =>
      basedOnVersion(headers, (caller, version) => rules.remove(caller, params.id, version)).pipe(orProblem),
    versions: ({ params, query }: Named & { readonly query: { readonly limit?: number; readonly cursor?: string } }) =>
      Effect.flatMap(Principal, (caller) => rules.versions(caller, params.id)).pipe(
        Effect.flatMap((items) => pageOf(items, query, ({ number }) => String(number))),
        orProblem
      )
  }
})

export const rules = Layer.merge(
  HttpApiBuilder.group(
    RestApi,
    "rules",
    Effect.fnUntraced(function* (handlers) {
      return handlers.handleAll(yield* handlersOf)
    })
  ),
  HttpApiBuilder.group(
    RestApi,
    "thresholdRules",
    Effect.fnUntraced(function* (handlers) {
      return handlers.handleAll(yield* handlersOf)
    })
  )
)
