import { type BulkLinkResult } from "@argusiq/domain/http/links.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { type LinkRefusal, Links } from "@argusiq/layers/registry/Links.ts"
import { pageOf } from "@argusiq/layers/registry/paging.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"

type Result = BulkLinkResult["results"][number]

/** Why one of many links was not made; that the database is away is no matter of one link. */
const errorsOf = (refusal: LinkRefusal): Result["errors"] | undefined => {
  switch (refusal._tag) {
    case "NotRegistered":
      return [{ path: `${refusal.what}Id`, message: "does not exist in this organization" }]
    case "NotValid":
      return refusal.faults
    case "WrongState":
      return [{ path: "", message: refusal.message }]
    case "BadReference":
      return [{ path: refusal.path, message: refusal.message }]
    case "AlreadyTaken":
      return [{ path: "", message: "The two are linked already." }]
    case "Unstorable":
      return [{ path: "", message: "A text holds a character that cannot be stored." }]
    case "DatabaseUnavailable":
      return undefined
  }
}

export const links = HttpApiBuilder.group(
  RestApi,
  "links",
  Effect.fnUntraced(function* (handlers) {
    const links = yield* Links
    return handlers.handleAll({
      link: ({ params, payload }) =>
        Effect.flatMap(Principal, (caller) => links.link(caller, params.deviceId, params.assetId, payload ?? {})).pipe(
          Effect.map((link) => ({ link })),
          orProblem
        ),
      unlink: ({ params, query }) =>
        Effect.flatMap(Principal, (caller) => links.unlink(caller, params.deviceId, params.assetId, query.port)).pipe(
          Effect.map((links) => ({ links })),
          orProblem
        ),
      bulkLink: ({ payload }) =>
        Effect.gen(function* () {
          const caller = yield* Principal
          const results = yield* Effect.forEach(payload.links, ({ assetId, deviceId, ...link }, index) =>
            links.link(caller, deviceId, assetId, link).pipe(
              Effect.map((link): Result => ({ index, link, errors: [] })),
              Effect.catch((refusal) => {
                const errors = errorsOf(refusal)
                if (errors !== undefined) return Effect.succeed<Result>({ index, link: null, errors })
                return Effect.fail(refusal as Extract<LinkRefusal, { readonly _tag: "DatabaseUnavailable" }>)
              })
            )
          )
          const linked = results.filter(({ link }) => link !== null).length
          return { linked, failed: results.length - linked, results }
        }).pipe(orProblem),
      assetsOf: ({ params, query }) =>
        Effect.flatMap(Principal, (caller) => links.assetsOf(caller, params.id, query)).pipe(
          Effect.flatMap((items) => pageOf(items, query, ({ link }) => link.id)),
          orProblem
        ),
      devicesOf: ({ params, query }) =>
        Effect.flatMap(Principal, (caller) => links.devicesOf(caller, params.id, query)).pipe(
          Effect.flatMap((items) => pageOf(items, query, ({ link }) => link.id)),
          orProblem
        )
    })
  })
)
