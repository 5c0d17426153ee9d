/**
 * Alarms: what rules say of devices and assets over time, and what people did about it.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { RuleId, TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { MetricValue } from "../readings.ts"
import { Severity } from "../system-event.ts"
import { ifMatch } from "./devices.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { Cursor, idParams, InstantFromIso, IsoInstant, label, limit, page } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

const EntityType = Schema.Literals(["device", "asset"])

export const AlarmState = Schema.Literals([
  "active",
  "cleared", // it ended; `end` says how
  "retracted" // a reading that came late has shown that it never was
])
export type AlarmState = typeof AlarmState.Type

export const AlarmItem = Schema.Struct({
  id: Uuid,
  organizationId: TenantId,
  ruleId: RuleId,
  ruleName: Schema.String, // as the rule is called today
  ruleVersion: Schema.Int,
  entityType: EntityType,
  entityId: Uuid,
  entityName: Schema.NullOr(Schema.String), // null: it is gone
  state: AlarmState,
  severity: Severity, // the highest so far
  priority: Schema.Int, // 1 is the most urgent
  startedAt: IsoInstant, // in the measured world
  endedAt: Schema.NullOr(IsoInstant),
  end: Schema.NullOr(Schema.Literals(["cleared", "superseded", "deactivated"])),
  settled: Schema.Boolean, // false: readings that come late may still correct it
  message: Schema.String,
  value: Schema.NullOr(MetricValue), // that raised it; null for silence and expressions
  threshold: Schema.NullOr(Schema.Finite),
  causeReadingId: Schema.NullOr(Uuid),
  acknowledgedAt: Schema.NullOr(IsoInstant),
  acknowledgedBy: Schema.NullOr(Uuid),
  commentCount: Schema.Int,
  version: Schema.Int // of what people did to it, for If-Match
}).annotate({ identifier: "Alarm" })
export type AlarmItem = typeof AlarmItem.Type

export const Comment = Schema.Struct({
  id: Uuid,
  body: Schema.String,
  createdAt: IsoInstant,
  createdBy: Schema.NullOr(Uuid)
}).annotate({ identifier: "Comment" })
export type Comment = typeof Comment.Type

export const AlarmDetail = Schema.Struct({ ...AlarmItem.fields, comments: Schema.Array(Comment) }).annotate({
  identifier: "AlarmDetail"
})
export type AlarmDetail = typeof AlarmDetail.Type

export const NewComment = Schema.Struct({ body: label(4_000) }).annotate({ identifier: "NewComment" })
export type NewComment = typeof NewComment.Type

export const AlarmQuery = Schema.Struct({
  state: Schema.optionalKey(Schema.Literals([...AlarmState.literals, "all"])), // active and cleared unless told
  severity: Schema.optionalKey(Severity),
  minSeverity: Schema.optionalKey(Severity), // this one and the more severe
  entityType: Schema.optionalKey(EntityType),
  entityId: Schema.optionalKey(Uuid),
  ruleId: Schema.optionalKey(RuleId),
  acknowledged: Schema.optionalKey(Schema.Literals(["true", "false"])),
  startTime: Schema.optionalKey(InstantFromIso), // of startedAt, inclusive
  endTime: Schema.optionalKey(InstantFromIso), // exclusive
  limit: Schema.optionalKey(limit(500)),
  cursor: Schema.optionalKey(Cursor),
  sort: Schema.optionalKey(Schema.Literals(["startedAt", "-startedAt"])) // newest first unless told
})
export type AlarmQuery = typeof AlarmQuery.Type

export class AlarmsApi extends HttpApiGroup.make("alarms")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: AlarmQuery.fields,
      success: page(AlarmItem, "AlarmPage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "alarms:read")
      .annotate(OpenApi.Summary, "Alarms, page by page"),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: AlarmDetail, error: NotFound })
      .annotate(RequiredPermission, "alarms:read")
      .annotate(OpenApi.Summary, "One alarm with its comments"),
    HttpApiEndpoint.post("acknowledge", "/:id/acknowledge", {
      params: idParams,
      headers: ifMatch,
      success: AlarmItem,
      error: [NotFound, PreconditionFailed]
    })
      .annotate(RequiredPermission, "alarms:write")
      .annotate(OpenApi.Summary, "Say that somebody has seen to it; the first to say so stays")
      .annotate(OpenApi.Description, "It ends nothing: an alarm ends when the rule says so."),
    HttpApiEndpoint.post("comment", "/:id/comments", {
      params: idParams,
      payload: NewComment,
      success: Comment.pipe(HttpApiSchema.status(201)),
      error: [NotFound, Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "alarms:write")
      .annotate(OpenApi.Summary, "Add a comment")
  )
  .prefix("/api/v1/alarms")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
