import { Conflict } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { Assets } from "@argusiq/layers/registry/Assets.ts"
import { ProfilesOfAssets } from "@argusiq/layers/registry/ProfilesOfAssets.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { basedOnVersion, withEtag } from "../versioned.ts"

const inUse = new Conflict({ detail: "Assets have this profile: give them another one first." })

export const assetProfiles = HttpApiBuilder.group(
  RestApi,
  "assetProfiles",
  Effect.fnUntraced(function* (handlers) {
    const profiles = yield* ProfilesOfAssets
    const assets = yield* Assets
    return handlers.handleAll({
      list: ({ query }) => Effect.flatMap(Principal, (caller) => profiles.list(caller, query)).pipe(orProblem),
      create: ({ payload }) =>
        Effect.flatMap(Principal, (caller) => profiles.create(caller, payload)).pipe(orProblem, withEtag),
      get: ({ params }) =>
        Effect.flatMap(Principal, (caller) => profiles.get(caller, params.id)).pipe(orProblem, withEtag),
      change: ({ headers, params, payload }) =>
        basedOnVersion(headers, (caller, version) => profiles.change(caller, params.id, payload, version)).pipe(
          orProblem,
          withEtag
        ),
      replace: ({ headers, params, payload }) =>
        basedOnVersion(headers, (caller, version) => profiles.change(caller, params.id, payload, version)).pipe(
          orProblem,
          withEtag
        ),
      remove: ({ headers, params }) =>
        basedOnVersion(headers, (caller, version) => profiles.remove(caller, params.id, version)).pipe(
          Effect.catchTag("BadReference", () => Effect.fail(inUse)),
          orProblem
        ),
      createAsset: ({ params, payload }) =>
        Effect.gen(function* () {
          const caller = yield* Principal
          const { id: profileId } = yield* profiles.get(caller, params.id)
          return yield* assets.create(caller, { ...payload, profileId })
        }).pipe(orProblem, withEtag)
    })
  })
)
