import { type AssetRebuildRequest } from "@argusiq/domain/http/rebuild.ts"
import { InvalidRequest } from "@argusiq/domain/http/problems.ts"
import { RestApi } from "@argusiq/domain/http/rest.ts"
import { Principal } from "@argusiq/domain/http/security.ts"
import { Jobs, type Requested } from "@argusiq/layers/jobs/Jobs.ts"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { orProblem } from "../refusals.ts"
import { spanOf } from "./jobs.ts"

const toAccepted = ({ jobId, messages }: Requested) => ({
  jobId,
  status: "queued" as const,
  estimatedEntities: messages
})

const noDrafts = "rules have no drafts: choose as it was or published, or try the rule with POST /api/v1/rules/backtest"

const asked = ({ from, to }: Pick<AssetRebuildRequest, "from" | "to">) => spanOf(from, to, ["from", "to"])

export const rebuild = HttpApiBuilder.group(
  RestApi,
  "rebuild",
  Effect.fnUntraced(function* (handlers) {
    const jobs = yield* Jobs
    return handlers.handleAll({
      assets: ({ payload }) =>
        Effect.gen(function* () {
          const { configuration = "as it was", scope } = payload
          const parameters = { what: "assets" as const, scope, configuration, ...(yield* asked(payload)) }
          return toAccepted(yield* jobs.rebuild(yield* Principal, parameters))
        }).pipe(orProblem),
      rules: ({ payload }) =>
        Effect.gen(function* () {
          const { configuration = "as it was", entityType, scope } = payload
          if (configuration === "draft") {
            return yield* new InvalidRequest({ errors: [{ path: "configuration", message: noDrafts }] })
          }
          const parameters = { what: "rules" as const, entityType, scope, configuration, ...(yield* asked(payload)) }
          return toAccepted(yield* jobs.rebuild(yield* Principal, parameters))
        }).pipe(orProblem)
    })
  })
)
