/**
 * Activities: work to be done, its checklist and its progress.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { ActivityState, AssignedRole, Priority, TargetType } from "../activity/activity.ts"
import { TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { Severity } from "../system-event.ts"
import { Checklist } from "./activity-templates.ts"
import { ifMatch } from "./devices.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, InstantFromIso, IsoInstant, label, page, pageQuery, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

export const ActivityItem = Schema.Struct({
  id: Uuid,
  item: Schema.String,
  required: Schema.Boolean,
  note: Schema.String,
  doneAt: Schema.NullOr(IsoInstant),
  doneBy: Schema.NullOr(Uuid)
}).annotate({ identifier: "ActivityItem" })
export type ActivityItem = typeof ActivityItem.Type

export const Activity = Schema.Struct({
  id: Uuid,
  organizationId: TenantId,
  activityTypeId: Uuid,
  templateId: Schema.NullOr(Uuid),
  scheduleId: Schema.NullOr(Uuid),
  eventId: Schema.NullOr(Uuid), // that it was made for
  alarmId: Schema.NullOr(Uuid),
  eventCount: Schema.Int, // those that joined it included
  targetType: Schema.NullOr(TargetType),
  targetId: Schema.NullOr(Uuid),
  name: Schema.String,
  description: Schema.String,
  priority: Priority, // 1 is the most urgent
  state: ActivityState,
  assignedRole: Schema.NullOr(AssignedRole),
  assignedUserId: Schema.NullOr(Uuid),
  dueAt: Schema.NullOr(IsoInstant),
  startedAt: Schema.NullOr(IsoInstant),
  startedBy: Schema.NullOr(Uuid),
  endedAt: Schema.NullOr(IsoInstant), // completed or cancelled
  endedBy: Schema.NullOr(Uuid), // null: by the platform, because the alarm was retracted
  note: Schema.String, // said when it was completed or cancelled
  checklist: Schema.Array(ActivityItem),
  customAttributes: Schema.JsonObject,
  createdAt: IsoInstant,
  createdBy: Schema.NullOr(Uuid),
  updatedAt: IsoInstant,
  version: Schema.Int // raised by its items too; for If-Match, also in the header etag
}).annotate({ identifier: "Activity" })
export type Activity = typeof Activity.Type

const settings = {
  description: Schema.optionalKey(text(10_000)),
  priority: Schema.optionalKey(Priority),
  assignedRole: Schema.optionalKey(Schema.NullOr(AssignedRole)),
  assignedUserId: Schema.optionalKey(Schema.NullOr(Uuid)),
  dueAt: Schema.optionalKey(Schema.NullOr(InstantFromIso)),
  customAttributes: Schema.optionalKey(Schema.JsonObject)
}
export const NewActivityRequest = Schema.Struct({
  name: label(200),
  activityTypeId: Uuid,
  targetId: Schema.optionalKey(Schema.NullOr(Uuid)), // a device or an asset
  checklist: Schema.optionalKey(Checklist),
  ...settings
}).annotate({
  identifier: "NewActivity",
  examples: [
    {
      name: "Look at the noise of pump 3",
      activityTypeId: "01890a5d-ac96-774b-bcce-b302099a8057",
      priority: 2,
      assignedRole: "technician",
      checklist: [{ item: "Listen", required: true }]
    }
  ]
})
export type NewActivityRequest = typeof NewActivityRequest.Type
export const ActivityChange = Schema.Struct({ name: Schema.optionalKey(label(200)), ...settings }).annotate({
  identifier: "ActivityChange",
  examples: [{ priority: 1 }]
})
export type ActivityChange = typeof ActivityChange.Type

export const FromTemplate = Schema.Struct({
  targetId: Schema.optionalKey(Schema.NullOr(Uuid)),
  overrides: Schema.optionalKey(ActivityChange)
}).annotate({
  identifier: "ActivityFromTemplate",
  examples: [{ targetId: "01890a5d-ac96-774b-bcce-b302099a8058", overrides: { priority: 1 } }]
})
export type FromTemplate = typeof FromTemplate.Type

export const ItemChange = Schema.Struct({
  done: Schema.optionalKey(Schema.Boolean),
  note: Schema.optionalKey(text(2_000))
}).annotate({ identifier: "ActivityItemChange", examples: [{ done: true }] })
export type ItemChange = typeof ItemChange.Type

/** What is said about how it ended. */
export const Closing = Schema.Struct({ note: Schema.optionalKey(text(10_000)) }).annotate({
  identifier: "ActivityClosing",
  examples: [{ note: "Bearing replaced" }]
})

export const ActivityEvent = Schema.Struct({
  eventId: Uuid,
  eventType: Schema.String,
  severity: Severity,
  alarmId: Schema.NullOr(Uuid),
  occurredAt: IsoInstant,
  retracted: Schema.Boolean // its alarm was, by a measurement that came late
}).annotate({ identifier: "ActivityEvent" })
export type ActivityEvent = typeof ActivityEvent.Type

const filters = {
  ...pageQuery, // `q`: part of the name; newest first unless told
  state: Schema.optionalKey(Schema.Literals([...ActivityState.literals, "open"])), // open: pending or in progress
  activityTypeId: Schema.optionalKey(Uuid),
  templateId: Schema.optionalKey(Uuid),
  scheduleId: Schema.optionalKey(Uuid),
  assignedRole: Schema.optionalKey(AssignedRole),
  assignedUserId: Schema.optionalKey(Uuid),
  priority: Schema.optionalKey(Priority),
  dueBefore: Schema.optionalKey(InstantFromIso) // exclusive
}
export const ActivityQuery = Schema.Struct({
  ...filters,
  targetId: Schema.optionalKey(Uuid),
  eventId: Schema.optionalKey(Uuid), // that it was made for or that joined it
  alarmId: Schema.optionalKey(Uuid)
})
export type ActivityQuery = typeof ActivityQuery.Type

const change = {
  params: idParams,
  headers: ifMatch,
  payload: ActivityChange,
  success: Activity,
  error: [NotFound, Conflict, PreconditionFailed, Unprocessable] as const
}
const step = {
  params: idParams,
  headers: ifMatch,
  success: Activity,
  error: [NotFound, Conflict, PreconditionFailed, Unprocessable] as const
}
const itemParams = { ...idParams, itemId: idParams.id }

export class ActivitiesApi extends HttpApiGroup.make("activities")
  .add(
    HttpApiEndpoint.get("list", "/activities", {
      query: ActivityQuery.fields,
      success: page(Activity, "ActivityPage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "activities:read")
      .annotate(OpenApi.Summary, "Activities, page by page, the newest first"),
    HttpApiEndpoint.post("create", "/activities", {
      payload: NewActivityRequest,
      success: Activity.pipe(HttpApiSchema.status(201)),
      error: [Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "activities:write")
      .annotate(OpenApi.Summary, "Make an activity by hand"),
    HttpApiEndpoint.post("createFromTemplate", "/activities/from-template/:templateId", {
      params: { templateId: idParams.id },
      payload: FromTemplate,
      success: Activity.pipe(HttpApiSchema.status(201)),
      error: [NotFound, Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "activities:write")
      .annotate(OpenApi.Summary, "Make an activity by hand as a template has it, but for what the body overrides"),
    HttpApiEndpoint.get("get", "/activities/:id", { params: idParams, success: Activity, error: NotFound })
      .annotate(RequiredPermission, "activities:read")
      .annotate(OpenApi.Summary, "One activity with its checklist"),
    HttpApiEndpoint.patch("change", "/activities/:id", change)
      .annotate(RequiredPermission, "activities:write")
      .annotate(OpenApi.Summary, "Change what the body names, while it is open"),
    HttpApiEndpoint.put("replace", "/activities/:id", change)
      .annotate(RequiredPermission, "activities:write")
      .annotate(OpenApi.Summary, "The same as PATCH: what the body does not name stays"),
    HttpApiEndpoint.delete("remove", "/activities/:id", {
      params: idParams,
      headers: ifMatch,
      success: HttpApiSchema.NoContent,
      error: [NotFound, PreconditionFailed]
    })
      .annotate(RequiredPermission, "activities:write")
      .annotate(OpenApi.Summary, "Remove an activity and its checklist for good; cancelling keeps it in the log"),
    HttpApiEndpoint.post("start", "/activities/:id/start", step)
      .annotate(RequiredPermission, "activities:work")
      .annotate(OpenApi.Summary, "Begin with it: from pending to in progress"),
    HttpApiEndpoint.post("complete", "/activities/:id/complete", { ...step, payload: Closing })
      .annotate(RequiredPermission, "activities:work")
      .annotate(OpenApi.Summary, "Complete what is in progress; every required item must be done"),
    HttpApiEndpoint.post("cancel", "/activities/:id/cancel", { ...step, payload: Closing })
      .annotate(RequiredPermission, "activities:work")
      .annotate(OpenApi.Summary, "Cancel what is open"),
    HttpApiEndpoint.get("events", "/activities/:id/events", {
      params: idParams,
      success: Schema.Struct({ items: Schema.Array(ActivityEvent) }).annotate({ identifier: "ActivityEvents" }),
      error: NotFound
    })
      .annotate(RequiredPermission, "activities:read")
      .annotate(OpenApi.Summary, "The events that it stands for, the newest 500 first"),
    HttpApiEndpoint.patch("changeItem", "/activities/:id/items/:itemId", {
      params: itemParams,
      headers: ifMatch,
      payload: ItemChange,
      success: Activity,
      error: [NotFound, Conflict, PreconditionFailed, Unprocessable]
    })
      .annotate(RequiredPermission, "activities:work")
      .annotate(OpenApi.Summary, "Tick an item of the checklist off, or not, and say something about it"),
    HttpApiEndpoint.get("maintenance", "/assets/:id/maintenance", {
      params: idParams,
      query: filters,
      success: page(Activity, "ActivityPage"),
      error: [NotFound, InvalidRequest]
    })
      .annotate(RequiredPermission, "activities:read")
      .annotate(OpenApi.Summary, "An asset's maintenance log: its activities, the newest first")
  )
  .prefix("/api/v1")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
