/**
 * What people and other systems are told of: one notification per event and channel, whoever it goes to, and one delivery
 * per event and webhook.
 * @module
 */
import { actionsOf } from "../activity/matching.ts"
import { type NewActivity } from "../activity/activity.ts"
import { isoFromMicros } from "../http/scalars.ts"
import { type Severity, type SystemEvent } from "../system-event.ts"
import { uuidV5 } from "../uuid.ts"

export interface NewNotification {
  readonly id: string
  readonly tenantId: string
  /** The event, or the activity that comes from none. */
  readonly sourceId: string
  readonly channel: "in_app" | "email"
  readonly eventId: string | null
  readonly activityId: string | null
  /** Ids of users, e-mail addresses in lower case, and roles; sorted, each once. */
  readonly recipients: ReadonlyArray<string>
  readonly title: string
  readonly body: string
  readonly severity: Severity
}

export interface NewDelivery {
  /** Also the idempotency key that the receiver sees. */
  readonly id: string
  readonly tenantId: string
  readonly eventId: string
  readonly eventType: string
  readonly url: string
  readonly body: string
}

export interface Notices {
  readonly notifications: ReadonlyArray<NewNotification>
  readonly deliveries: ReadonlyArray<NewDelivery>
}

/** Longer titles are cut: a title is one line. */
const TITLE_LENGTH = 200

export const notificationId = (sourceId: string, channel: NewNotification["channel"]): string =>
  uuidV5(sourceId, `notification:${channel}`)
export const deliveryId = (eventId: string, url: string): string => uuidV5(eventId, `webhook:${url}`)

const messageOf = ({ entityId, entityType, eventType, payload }: SystemEvent): string => {
  const { message } = payload
  if (typeof message === "string" && message.trim() !== "") return message
  return `${eventType.toLowerCase().replaceAll("_", " ")}: ${entityType} ${entityId}`
}

const oneLine = (text: string): string => {
  const line = text.replaceAll(/\s+/g, " ").trim()
  return line.length <= TITLE_LENGTH ? line : `${line.slice(0, TITLE_LENGTH - 1).replace(/[\uD800-\uDBFF]$/, "")}…`
}

const asSet = (recipients: ReadonlyArray<string>): ReadonlyArray<string> =>
  [...new Set(recipients.map((recipient) => recipient.trim().toLowerCase()))].toSorted()

/** Whom an activity is given to: the user, or everybody with the role; nobody where it is given to nobody. */
export const assigneesOf = ({
  assignedRole,
  assignedUserId
}: Pick<NewActivity, "assignedRole" | "assignedUserId">): ReadonlyArray<string> =>
  assignedUserId !== null ? [assignedUserId] : assignedRole !== null ? [assignedRole] : []

/** `made`: the activities that were made for the event; whom they are given to is told of them in the application. */
export const noticesFor = (event: SystemEvent, made: ReadonlyArray<NewActivity>): Notices => {
  const actions = actionsOf(event)
  const toldBy = (channel: NewNotification["channel"]) =>
    actions.flatMap((action) => (action.type === "notify" && action.channel === channel ? [action.to] : []))
  const message = messageOf(event)
  const lines = [
    message,
    "",
    `${event.eventType}, ${event.severity}`,
    `${event.entityType} ${event.entityId}`,
    isoFromMicros(event.occurredAt),
    ...made.map(({ name, priority }) => `Activity: ${name} (priority ${priority})`)
  ]
  const through = (channel: NewNotification["channel"], to: ReadonlyArray<string>): ReadonlyArray<NewNotification> => {
    const recipients = asSet(to)
    if (recipients.length === 0) return []
    return [
      {
        id: notificationId(event.id, channel),
        tenantId: event.tenantId,
        sourceId: event.id,
        channel,
        eventId: event.id,
        activityId: made[0]?.id ?? null,
        recipients,
        title: oneLine(message),
        body: lines.join("\n"),
        severity: event.severity
      }
    ]
  }
  const urls = new Set(actions.flatMap((action) => (action.type === "webhook" ? [action.url] : [])))
  return {
    notifications: [
      ...through("in_app", [...toldBy("in_app"), ...made.flatMap(assigneesOf)]),
      ...through("email", toldBy("email"))
    ],
    deliveries: [...urls].map((url) => ({
      id: deliveryId(event.id, url),
      tenantId: event.tenantId,
      eventId: event.id,
      eventType: event.eventType,
      url,
      body: bodyOf(event, message, made)
    }))
  }
}

/** Of an activity that comes from no event; none where it is given to nobody. `reason`: why it was made, in words. */
export const assignmentNotice = (activity: NewActivity, reason: string): NewNotification | undefined => {
  const recipients = asSet(assigneesOf(activity))
  if (recipients.length === 0) return undefined
  const { dueAt, id, name, priority, tenantId } = activity
  const due = dueAt === null ? [] : [`Due ${isoFromMicros(dueAt)}`]
  return {
    id: notificationId(id, "in_app"),
    tenantId,
    sourceId: id,
    channel: "in_app",
    eventId: null,
    activityId: id,
    recipients,
    title: oneLine(name),
    body: [name, "", reason, `Priority ${priority}`, ...due].join("\n"),
    severity: "info"
  }
}

const bodyOf = (event: SystemEvent, message: string, made: ReadonlyArray<NewActivity>): string =>
  JSON.stringify({
    type: event.eventType,
    event: {
      id: event.id,
      organizationId: event.tenantId,
      eventType: event.eventType,
      entityType: event.entityType,
      entityId: event.entityId,
      severity: event.severity,
      occurredAt: isoFromMicros(event.occurredAt),
      ruleId: event.ruleId ?? null,
      alarmId: event.alarmId ?? null,
      message,
      payload: event.payload
    },
    activities: made.map(({ assignedRole, assignedUserId, dueAt, id, name, priority }) => ({
      id,
      name,
      priority,
      assignedRole,
      assignedUserId,
      dueAt: dueAt === null ? null : isoFromMicros(dueAt)
    }))
  })
