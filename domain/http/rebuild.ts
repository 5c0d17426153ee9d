/**
 * Rebuilds of what assets and rules made of the past: asked for here, looked at and cancelled as jobs.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { EntityType, RebuildConfiguration, RebuildScope } from "../rebuild.ts"
import { JobState } from "./jobs.ts"
import { Conflict, InvalidRequest, NotFound, Unprocessable } from "./problems.ts"
import { InstantFromIso } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

const span = {
  from: InstantFromIso, // by timestamps of readings
  to: InstantFromIso // not included; now at the latest
}

export const AssetRebuildRequest = Schema.Struct({
  scope: RebuildScope, // assets; those above them in the tree follow by themselves
  ...span,
  configuration: Schema.optionalKey(RebuildConfiguration) // as it was, unless told; draft: of one asset type
}).annotate({ identifier: "AssetRebuildRequest" })
export type AssetRebuildRequest = typeof AssetRebuildRequest.Type

export const RuleRebuildRequest = Schema.Struct({
  entityType: EntityType,
  scope: RebuildScope, // the entities whose alarms are made anew, by all rules that concern them
  ...span,
  configuration: Schema.optionalKey(RebuildConfiguration) // as it was, unless told
}).annotate({ identifier: "RuleRebuildRequest" })
export type RuleRebuildRequest = typeof RuleRebuildRequest.Type

const accepted = Schema.Struct({
  jobId: Uuid,
  status: JobState,
  estimatedEntities: Schema.Int // those above the assets not counted
})
  .annotate({ identifier: "AcceptedRebuild" })
  .pipe(HttpApiSchema.status(202))

const error = [InvalidRequest, NotFound, Conflict, Unprocessable] as const

export class RebuildApi extends HttpApiGroup.make("rebuild")
  .add(
    HttpApiEndpoint.post("assets", "/assets/rebuild", { payload: AssetRebuildRequest, success: accepted, error })
      .annotate(RequiredPermission, "assets:write")
      .annotate(OpenApi.Summary, "Make anew what assets made of their readings")
      .annotate(
        OpenApi.Description,
        "Folds the stored readings of their devices as live ones are folded, late ones among them, and puts history, latest " +
          "values, health and alarms in place of the old ones, asset by asset, each at once. Nobody is notified."
      ),
    HttpApiEndpoint.post("rules", "/rules/rebuild", { payload: RuleRebuildRequest, success: accepted, error })
      .annotate(RequiredPermission, "rules:write")
      .annotate(OpenApi.Summary, "Make the alarms of the past anew")
      .annotate(
        OpenApi.Description,
        "Folds the stored readings as live ones are folded and puts the alarms in place of the old ones, entity by entity, each " +
          "at once. Alarms that stay keep their ids and what people did to them. No events, no activities, no notifications."
      )
  )
  .prefix("/api/v1")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
