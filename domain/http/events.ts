/**
 * Events: what happened that people want to know of, and what they did about it.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { RuleId, TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { Severity, SystemEvent } from "../system-event.ts"
import { Comment, NewComment } from "./alarms.ts"
import { Conflict, InvalidRequest, NotFound, Unprocessable } from "./problems.ts"
import { Cursor, idParams, InstantFromIso, IsoInstant, limit, page } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

const { entityType: EntityType, eventType: EventType } = SystemEvent.fields

export const EventItem = Schema.Struct({
  id: Uuid,
  organizationId: TenantId,
  eventType: Schema.String,
  entityType: Schema.String,
  entityId: Uuid,
  ruleId: Schema.NullOr(RuleId),
  alarmId: Schema.NullOr(Uuid),
  severity: Severity,
  priority: Schema.NullOr(Schema.Int),
  message: Schema.NullOr(Schema.String),
  occurredAt: IsoInstant, // in the measured world
  payload: Schema.Json,
  acknowledgedAt: Schema.NullOr(IsoInstant),
  acknowledgedBy: Schema.NullOr(Uuid),
  dismissedAt: Schema.NullOr(IsoInstant),
  dismissedBy: Schema.NullOr(Uuid),
  commentCount: Schema.Int
}).annotate({ identifier: "Event" })
export type EventItem = typeof EventItem.Type

export const EventDetail = Schema.Struct({ ...EventItem.fields, comments: Schema.Array(Comment) }).annotate({
  identifier: "EventDetail"
})
export type EventDetail = typeof EventDetail.Type

export const EventQuery = Schema.Struct({
  state: Schema.optionalKey(Schema.Literals(["open", "acknowledged", "dismissed", "all"])), // not dismissed unless told
  eventType: Schema.optionalKey(EventType),
  severity: Schema.optionalKey(Severity),
  minSeverity: Schema.optionalKey(Severity), // this one and the more severe
  entityType: Schema.optionalKey(EntityType),
  entityId: Schema.optionalKey(Uuid),
  ruleId: Schema.optionalKey(RuleId),
  alarmId: Schema.optionalKey(Uuid),
  startTime: Schema.optionalKey(InstantFromIso), // of occurredAt, inclusive
  endTime: Schema.optionalKey(InstantFromIso), // exclusive
  limit: Schema.optionalKey(limit(500)),
  cursor: Schema.optionalKey(Cursor),
  sort: Schema.optionalKey(Schema.Literals(["occurredAt", "-occurredAt"])) // newest first unless told
})
export type EventQuery = typeof EventQuery.Type

export class EventsApi extends HttpApiGroup.make("events")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: EventQuery.fields,
      success: page(EventItem, "EventPage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "alarms:read")
      .annotate(OpenApi.Summary, "Events, page by page"),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: EventDetail, error: NotFound })
      .annotate(RequiredPermission, "alarms:read")
      .annotate(OpenApi.Summary, "One event with its comments"),
    HttpApiEndpoint.post("acknowledge", "/:id/acknowledge", { params: idParams, success: EventItem, error: NotFound })
      .annotate(RequiredPermission, "alarms:write")
      .annotate(OpenApi.Summary, "Say that somebody has seen to it; the first to say so stays"),
    HttpApiEndpoint.post("dismiss", "/:id/dismiss", { params: idParams, success: EventItem, error: NotFound })
      .annotate(RequiredPermission, "alarms:write")
      .annotate(OpenApi.Summary, "Take it out of the list of what is open"),
    HttpApiEndpoint.post("comment", "/:id/comments", {
      params: idParams,
      payload: NewComment,
      success: Comment.pipe(HttpApiSchema.status(201)),
      error: [NotFound, Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "alarms:write")
      .annotate(OpenApi.Summary, "Add a comment")
  )
  .prefix("/api/v1/events")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
