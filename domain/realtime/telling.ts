/**
 * What live connections are told of a record: the events, and whom they are for.
 * @module
 */
import type { ActivityCreated } from "../activity/activity.ts"
import { isoFromMicros } from "../http/scalars.ts"
import type { DeviceId } from "../ids.ts"
import type { SystemEvent } from "../system-event.ts"
import type { EntityRoom } from "./requests.ts"
import type { OneTold } from "./told.ts"

export const organizationRoom = (tenantId: string): string => `organization:${tenantId}`
export const entityRoom = ({ entityType, id }: EntityRoom): string => `${entityType}:${id}`

/** Those of the organisation, and those who watch the entity, each connection once. */
export const roomsOf = (tenantId: string, entityType: string | null, entityId: string | null): ReadonlyArray<string> =>
  (entityType === "device" || entityType === "asset") && entityId !== null
    ? [organizationRoom(tenantId), entityRoom({ entityType, id: entityId })]
    : [organizationRoom(tenantId)]

const textOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined)

/** A device's change of status in words of its own; nothing for other events. */
const statusOf = ({ entityId, eventType, occurredAt, payload }: SystemEvent): ReadonlyArray<OneTold> => {
  const deviceId = entityId as DeviceId
  const at = isoFromMicros(occurredAt)
  if (eventType === "DEVICE_ONLINE") {
    return [
      { name: "device:status", payload: { deviceId, status: "online", lastSeen: at } },
      { name: "device:connected", payload: { deviceId, connectedAt: at } }
    ]
  }
  if (eventType !== "DEVICE_OFFLINE") return []
  const lastSeen = textOf(payload["lastSeenAt"]) ?? null
  const [reason, detail] = [textOf(payload["reason"]) ?? "unknown", textOf(payload["detail"])]
  return [
    { name: "device:status", payload: { deviceId, status: "offline", lastSeen } },
    {
      name: "device:disconnected",
      payload: { deviceId, disconnectedAt: at, reason: detail === undefined ? reason : `${reason}: ${detail}` }
    }
  ]
}

/** In the order in which they are told. */
export const toldOfEvent = (event: SystemEvent): ReadonlyArray<OneTold> => [
  {
    name: "event:created",
    payload: {
      eventId: event.id,
      type: event.eventType,
      entityType: event.entityType,
      entityId: event.entityId,
      severity: event.severity,
      occurredAt: isoFromMicros(event.occurredAt),
      ruleId: event.ruleId ?? null,
      alarmId: event.alarmId ?? null,
      payload: event.payload
    }
  },
  ...statusOf(event)
]

/** The alarm whose earlier events have become others by this one. */
export const alarmEndedBy = ({ alarmId, eventType }: SystemEvent): string | undefined =>
  eventType === "THRESHOLD_CLEARED" || eventType === "THRESHOLD_RETRACTED" ? alarmId : undefined

export const toldOfActivity = (activity: ActivityCreated): OneTold => ({
  name: "activity:created",
  payload: {
    activityId: activity.activityId,
    name: activity.name,
    priority: activity.priority,
    assignedTo: activity.assignedUserId,
    assignedRole: activity.assignedRole,
    dueAt: activity.dueAt === null ? null : isoFromMicros(activity.dueAt),
    createdAt: isoFromMicros(activity.createdAt),
    targetType: activity.targetType,
    targetId: activity.targetId,
    eventId: activity.eventId
  }
})
