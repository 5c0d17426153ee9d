/**
 * Activities: work for people, made because of an event, by a schedule or by hand.
 * @module
 */
import { Schema } from "effect"
import { Instant, TenantId, Uuid } from "../ids.ts"
import { roles } from "../permissions.ts"
import { jsonBytes } from "../record-json.ts"
import { type Severity, SystemEvent } from "../system-event.ts"
import { Topics } from "../topics.ts"

export const ActivityState = Schema.Literals(["pending", "in_progress", "completed", "cancelled"])
export type ActivityState = typeof ActivityState.Type

/** 1 is the most urgent. */
export const Priority = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 5 }))

/** The priority of what has none of its own. */
export const priorityOf = (severity: Severity): number => priorities[severity]
const priorities: Readonly<Record<Severity, number>> = { critical: 1, high: 2, medium: 3, warning: 3, low: 4, info: 5 }

export const AssignedRole = Schema.Literals(roles)
export type AssignedRole = typeof AssignedRole.Type

export const TargetType = Schema.Literals(["device", "asset", "organization"])
export type TargetType = typeof TargetType.Type
export interface Target {
  readonly type: TargetType
  readonly id: string
}

export const ChecklistItem = Schema.Struct({ item: Schema.NonEmptyString, required: Schema.Boolean })
export type ChecklistItem = typeof ChecklistItem.Type

/** An event type, or MANUAL: only people and schedules use the template. */
export const TemplateTrigger = Schema.Union([SystemEvent.fields.eventType, Schema.Literal("MANUAL")])
export type TemplateTrigger = typeof TemplateTrigger.Type

/** What of it is absent lets everything through; an empty list lets nothing through. */
export const TemplateFilter = Schema.Struct({
  severities: Schema.optionalKey(Schema.Array(SystemEvent.fields.severity)),
  entityTypes: Schema.optionalKey(Schema.Array(TargetType)),
  assetTypeIds: Schema.optionalKey(Schema.Array(Uuid)) // of exactly these types; only assets have one
})
export type TemplateFilter = typeof TemplateFilter.Type

/** An activity template as the pipeline knows it. */
export interface Template {
  readonly id: string
  readonly tenantId: string
  readonly activityTypeId: string
  readonly name: string
  readonly description: string
  readonly trigger: string
  readonly filter: TemplateFilter
  /** Null: from the event's severity, 3 without an event. */
  readonly priority: number | null
  readonly assignedRole: AssignedRole | null
  readonly assignedUserId: string | null
  readonly dueInHours: number | null
  readonly checklist: ReadonlyArray<ChecklistItem>
  readonly customAttributes: Schema.JsonObject
}

/** An activity before it is stored. Its items have the ids that {@link itemId} gives them. */
export interface NewActivity {
  readonly id: string
  readonly tenantId: string
  readonly activityTypeId: string
  readonly templateId: string | null
  readonly scheduleId: string | null
  readonly eventId: string | null
  readonly alarmId: string | null
  readonly target: Target | null
  readonly name: string
  readonly description: string
  readonly priority: number
  readonly assignedRole: AssignedRole | null
  readonly assignedUserId: string | null
  readonly dueAt: Instant | null
  readonly checklist: ReadonlyArray<ChecklistItem>
  readonly customAttributes: Schema.JsonObject
}

/** Value of `activities.created.v1`, key = target, or the activity where it has none. */
export const ActivityCreated = Schema.Struct({
  activityId: Uuid,
  tenantId: TenantId,
  activityTypeId: Uuid,
  templateId: Schema.NullOr(Uuid),
  scheduleId: Schema.NullOr(Uuid),
  eventId: Schema.NullOr(Uuid),
  targetType: Schema.NullOr(TargetType),
  targetId: Schema.NullOr(Uuid),
  name: Schema.String,
  priority: Priority,
  assignedRole: Schema.NullOr(AssignedRole),
  assignedUserId: Schema.NullOr(Uuid),
  dueAt: Schema.NullOr(Instant),
  createdAt: Instant
})
export type ActivityCreated = typeof ActivityCreated.Type

/** The record that tells of it. */
export const activityRecord = (activity: ActivityCreated) => ({
  topic: Topics.activities,
  key: activity.targetId ?? activity.activityId,
  value: jsonBytes(activity),
  headers: {
    "message-id": activity.activityId,
    "tenant-id": activity.tenantId,
    "received-at": String(activity.createdAt),
    "content-type": "application/json"
  }
})
