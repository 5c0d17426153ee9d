/**
 * Activity templates: what is to be done about which event, by whom and until when.
 * @module
 */
import { Schema, Struct } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { AssignedRole, Priority, TargetType, TemplateTrigger } from "../activity/activity.ts"
import { TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { Severity } from "../system-event.ts"
import { ifMatch } from "./devices.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, label, page, pageQuery, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

export const Checklist = Schema.Array(
  Schema.Struct({ item: label(500), required: Schema.Boolean }).annotate({ identifier: "ChecklistEntry" })
).check(Schema.isMaxLength(200))

const Filter = Schema.Struct({
  severities: Schema.optionalKey(Schema.Array(Severity)),
  entityTypes: Schema.optionalKey(Schema.Array(TargetType)),
  assetTypeIds: Schema.optionalKey(Schema.Array(Uuid).check(Schema.isMaxLength(1_000)))
}).annotate({ identifier: "ActivityTemplateFilter" })

const DueInHours = Schema.Finite.check(Schema.isGreaterThan(0), Schema.isLessThanOrEqualTo(87_600))

export const ActivityTemplate = Schema.Struct({
  id: Uuid,
  organizationId: TenantId,
  activityTypeId: Uuid,
  name: Schema.String, // becomes the activity's
  description: Schema.String,
  triggerEventType: TemplateTrigger,
  filter: Filter, // what of it is absent lets everything through
  priority: Schema.NullOr(Priority), // 1 is the most urgent; null: from the event's severity
  assignedRole: Schema.NullOr(AssignedRole),
  assignedUserId: Schema.NullOr(Uuid),
  dueInHours: Schema.NullOr(Schema.Finite), // after the event happened
  checklist: Checklist,
  customAttributes: Schema.JsonObject,
  isActive: Schema.Boolean, // only active ones make activities of events and schedules
  createdAt: IsoInstant,
  updatedAt: IsoInstant,
  version: Schema.Int // for If-Match; also in the header etag
}).annotate({ identifier: "ActivityTemplate" })
export type ActivityTemplate = typeof ActivityTemplate.Type

const settings = {
  description: Schema.optionalKey(text(10_000)),
  filter: Schema.optionalKey(Filter),
  priority: Schema.optionalKey(Schema.NullOr(Priority)),
  assignedRole: Schema.optionalKey(Schema.NullOr(AssignedRole)),
  assignedUserId: Schema.optionalKey(Schema.NullOr(Uuid)),
  dueInHours: Schema.optionalKey(Schema.NullOr(DueInHours)),
  checklist: Schema.optionalKey(Checklist),
  customAttributes: Schema.optionalKey(Schema.JsonObject),
  isActive: Schema.optionalKey(Schema.Boolean)
}
const identity = { name: label(200), activityTypeId: Uuid, triggerEventType: TemplateTrigger }

export const NewActivityTemplate = Schema.Struct({ ...identity, ...settings }).annotate({
  identifier: "NewActivityTemplate",
  examples: [
    {
      name: "Look at the overheated pump",
      activityTypeId: "01890a5d-ac96-774b-bcce-b302099a8057",
      triggerEventType: "THRESHOLD_BREACH",
      filter: { severities: ["high", "critical"], entityTypes: ["asset"] },
      assignedRole: "technician",
      dueInHours: 4,
      checklist: [
        { item: "Stop the pump", required: true },
        { item: "Take a picture", required: false }
      ]
    }
  ]
})
export type NewActivityTemplate = typeof NewActivityTemplate.Type
export const ActivityTemplateChange = Schema.Struct({
  ...Struct.map(identity, Schema.optionalKey),
  ...settings
}).annotate({ identifier: "ActivityTemplateChange", examples: [{ isActive: false }] })
export type ActivityTemplateChange = typeof ActivityTemplateChange.Type

export const ActivityTemplateQuery = Schema.Struct({
  ...pageQuery, // `q`: part of the name
  triggerEventType: Schema.optionalKey(TemplateTrigger),
  activityTypeId: Schema.optionalKey(Uuid),
  isActive: Schema.optionalKey(Schema.Literals(["true", "false"]))
})
export type ActivityTemplateQuery = typeof ActivityTemplateQuery.Type

const change = {
  params: idParams,
  headers: ifMatch,
  payload: ActivityTemplateChange,
  success: ActivityTemplate,
  error: [NotFound, Conflict, PreconditionFailed, Unprocessable] as const
}

export class ActivityTemplatesApi extends HttpApiGroup.make("activityTemplates")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: ActivityTemplateQuery.fields,
      success: page(ActivityTemplate, "ActivityTemplatePage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "activities:read")
      .annotate(OpenApi.Summary, "Activity templates, page by page"),
    HttpApiEndpoint.post("create", "/", {
      payload: NewActivityTemplate,
      success: ActivityTemplate.pipe(HttpApiSchema.status(201)),
      error: [Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "activities:write")
      .annotate(OpenApi.Summary, "Add a template"),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: ActivityTemplate, error: NotFound })
      .annotate(RequiredPermission, "activities:read")
      .annotate(OpenApi.Summary, "One activity template"),
    HttpApiEndpoint.patch("change", "/:id", change)
      .annotate(RequiredPermission, "activities:write")
      .annotate(OpenApi.Summary, "Change what the body names; activities that are made already stay as they are"),
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
      .annotate(OpenApi.Summary, "Remove a template that no schedule uses; its activities stay")
  )
  .prefix("/api/v1/activity-templates")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
