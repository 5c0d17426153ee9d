/**
 * Activity types: what kinds of work there are.
 * @module
 */
import { Schema, Struct } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { ifMatch } from "./devices.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, label, page, pageQuery, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

export const ActivityType = Schema.Struct({
  id: Uuid,
  organizationId: TenantId,
  name: Schema.String,
  description: Schema.String,
  icon: Schema.NullOr(Schema.String),
  color: Schema.NullOr(Schema.String),
  createdAt: IsoInstant,
  updatedAt: IsoInstant,
  version: Schema.Int // for If-Match; also in the header etag
}).annotate({ identifier: "ActivityType" })
export type ActivityType = typeof ActivityType.Type

export const NewActivityType = Schema.Struct({
  name: label(200),
  description: Schema.optionalKey(text(2_000)),
  icon: Schema.optionalKey(Schema.NullOr(label(100))),
  color: Schema.optionalKey(Schema.NullOr(label(50)))
}).annotate({
  identifier: "NewActivityType",
  examples: [{ name: "Repair", description: "Something has to be put right", icon: "wrench" }]
})
export type NewActivityType = typeof NewActivityType.Type
export const ActivityTypeChange = NewActivityType.mapFields(Struct.map(Schema.optionalKey)).annotate({
  identifier: "ActivityTypeChange"
})
export type ActivityTypeChange = typeof ActivityTypeChange.Type

export const ActivityTypeQuery = Schema.Struct(pageQuery)
export type ActivityTypeQuery = typeof ActivityTypeQuery.Type

const change = {
  params: idParams,
  headers: ifMatch,
  payload: ActivityTypeChange,
  success: ActivityType,
  error: [NotFound, Conflict, PreconditionFailed, Unprocessable] as const
}

export class ActivityTypesApi extends HttpApiGroup.make("activityTypes")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: ActivityTypeQuery.fields,
      success: page(ActivityType, "ActivityTypePage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "activities:read")
      .annotate(OpenApi.Summary, "Activity types, page by page"),
    HttpApiEndpoint.post("create", "/", {
      payload: NewActivityType,
      success: ActivityType.pipe(HttpApiSchema.status(201)),
      error: [Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "activities:write")
      .annotate(OpenApi.Summary, "Add an activity type"),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: ActivityType, error: NotFound })
      .annotate(RequiredPermission, "activities:read")
      .annotate(OpenApi.Summary, "One activity type"),
    HttpApiEndpoint.patch("change", "/:id", change)
      .annotate(RequiredPermission, "activities:write")
      .annotate(OpenApi.Summary, "Change what the body names"),
    HttpApiEndpoint.put("replace", "/:id", change)
      .annotate(RequiredPermission, "activities:write")
      .annotate(OpenApi.Summary, "The same as PATCH: what the body does not name stays"),
    HttpApiEndpoint.delete("remove", "/:id", {
      params: idParams,
      headers: ifMatch,
      success: HttpApiSchema.NoContent,
      error: [NotFound, Conflict, PreconditionFailed]
    })
      .annotate(RequiredPermission, "activities:write")
      .annotate(OpenApi.Summary, "Remove a type that no template and no activity has")
  )
  .prefix("/api/v1/activity-types")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
