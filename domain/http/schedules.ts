/**
 * Schedules: maintenance that comes again.
 * @module
 */
import { Schema, Struct } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { Recurrence } from "../activity/recurrence.ts"
import { TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { ifMatch } from "./devices.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, label, page, pageQuery } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

const { endsOn, every, localTime, startsOn, timeZone, unit } = Recurrence.fields

export const MaintenanceSchedule = Schema.Struct({
  id: Uuid,
  organizationId: TenantId,
  name: Schema.String, // becomes the activities'
  templateId: Uuid,
  targetType: Schema.NullOr(Schema.Literals(["device", "asset"])),
  targetId: Schema.NullOr(Uuid),
  ...Recurrence.fields,
  isActive: Schema.Boolean,
  nextDueAt: Schema.NullOr(IsoInstant), // null: there is none any more
  lastDueAt: Schema.NullOr(IsoInstant), // of the last one that became an activity
  createdAt: IsoInstant,
  updatedAt: IsoInstant,
  version: Schema.Int // for If-Match; also in the header etag
}).annotate({ identifier: "MaintenanceSchedule" })
export type MaintenanceSchedule = typeof MaintenanceSchedule.Type

const identity = { name: label(200), templateId: Uuid, every, unit, startsOn, localTime, timeZone }
const settings = {
  targetId: Schema.optionalKey(Schema.NullOr(Uuid)), // a device or an asset
  endsOn: Schema.optionalKey(endsOn),
  isActive: Schema.optionalKey(Schema.Boolean)
}
export const NewSchedule = Schema.Struct({ ...identity, ...settings }).annotate({
  identifier: "NewMaintenanceSchedule",
  examples: [
    {
      name: "Oil the pump",
      templateId: "01890a5d-ac96-774b-bcce-b302099a8057",
      targetId: "01890a5d-ac96-774b-bcce-b302099a8058",
      every: 3,
      unit: "months",
      startsOn: "2026-01-31",
      localTime: "08:00",
      timeZone: "Europe/Berlin"
    }
  ]
})
export type NewSchedule = typeof NewSchedule.Type
export const ScheduleChange = Schema.Struct({ ...Struct.map(identity, Schema.optionalKey), ...settings }).annotate({
  identifier: "MaintenanceScheduleChange",
  examples: [{ isActive: false }]
})
export type ScheduleChange = typeof ScheduleChange.Type

export const ScheduleQuery = Schema.Struct({
  ...pageQuery, // `q`: part of the name
  templateId: Schema.optionalKey(Uuid),
  targetId: Schema.optionalKey(Uuid),
  isActive: Schema.optionalKey(Schema.Literals(["true", "false"]))
})
export type ScheduleQuery = typeof ScheduleQuery.Type

const change = {
  params: idParams,
  headers: ifMatch,
  payload: ScheduleChange,
  success: MaintenanceSchedule,
  error: [NotFound, Conflict, PreconditionFailed, Unprocessable] as const
}

export class SchedulesApi extends HttpApiGroup.make("schedules")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: ScheduleQuery.fields,
      success: page(MaintenanceSchedule, "MaintenanceSchedulePage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "activities:read")
      .annotate(OpenApi.Summary, "Maintenance schedules, page by page"),
    HttpApiEndpoint.post("create", "/", {
      payload: NewSchedule,
      success: MaintenanceSchedule.pipe(HttpApiSchema.status(201)),
      error: [Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "activities:write")
      .annotate(OpenApi.Summary, "Have an activity made again and again; its first one lies in the future"),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: MaintenanceSchedule, error: NotFound })
      .annotate(RequiredPermission, "activities:read")
      .annotate(OpenApi.Summary, "One schedule"),
    HttpApiEndpoint.patch("change", "/:id", change)
      .annotate(RequiredPermission, "activities:write")
      .annotate(OpenApi.Summary, "Change what the body names; it goes on with the next occurrence from now on"),
    HttpApiEndpoint.put("replace", "/:id", change)
      .annotate(RequiredPermission, "activities:write")
      .annotate(OpenApi.Summary, "The same as PATCH: what the body does not name stays"),
    HttpApiEndpoint.delete("remove", "/:id", {
      params: idParams,
      headers: ifMatch,
      success: HttpApiSchema.NoContent,
      error: [NotFound, PreconditionFailed]
    })
      .annotate(RequiredPermission, "activities:write")
      .annotate(OpenApi.Summary, "Remove a schedule; its activities stay")
  )
  .prefix("/api/v1/maintenance-schedules")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
