/**
 * An activity as its template has it.
 * @module
 */
import { type Instant } from "../ids.ts"
import { type SystemEvent } from "../system-event.ts"
import { uuidV5 } from "../uuid.ts"
import { type NewActivity, priorityOf, type Target, type Template } from "./activity.ts"

const HOUR = 3_600_000_000
/** Of an activity without an event and without a priority of its template. */
export const USUAL_PRIORITY = 3

/** The same event and template give the same activity, however often they meet. */
export const activityIdOf = (eventId: string, templateId: string): string => uuidV5(eventId, templateId)

/** The same occurrence of a schedule gives the same activity. `due`: the instant of the occurrence. */
export const occurrenceIdOf = (scheduleId: string, due: Instant): string => uuidV5(scheduleId, String(due))

/** The item at that place of the activity's checklist. */
export const itemId = (activityId: string, position: number): string => uuidV5(activityId, `item:${position}`)

/** `at`: from when on the hours until it is due count. */
const dueAt = (template: Template, at: Instant): Instant | null =>
  template.dueInHours === null ? null : at + Math.round(template.dueInHours * HOUR)

const fromTemplate = (template: Template, id: string, target: Target | null) => ({
  id,
  tenantId: template.tenantId,
  activityTypeId: template.activityTypeId,
  templateId: template.id,
  scheduleId: null,
  eventId: null,
  alarmId: null,
  target,
  name: template.name,
  description: template.description,
  assignedRole: template.assignedRole,
  assignedUserId: template.assignedUserId,
  checklist: template.checklist,
  customAttributes: template.customAttributes
})

/** Due so many hours after the event happened. */
export const activityForEvent = (template: Template, event: SystemEvent): NewActivity => ({
  ...fromTemplate(template, activityIdOf(event.id, template.id), { type: event.entityType, id: event.entityId }),
  eventId: event.id,
  alarmId: event.alarmId ?? null,
  priority: template.priority ?? priorityOf(event.severity),
  dueAt: dueAt(template, event.occurredAt)
})

/** Due so many hours after the occurrence; without such a number in the template at the occurrence itself. */
export const activityForOccurrence = (
  template: Template,
  schedule: { readonly id: string; readonly name: string; readonly target: Target | null },
  occurrence: Instant
): NewActivity => ({
  ...fromTemplate(template, occurrenceIdOf(schedule.id, occurrence), schedule.target),
  scheduleId: schedule.id,
  name: schedule.name,
  priority: template.priority ?? USUAL_PRIORITY,
  dueAt: dueAt(template, occurrence) ?? occurrence
})

/** By hand: due so many hours after it is made. */
export const activityByHand = (
  template: Template,
  { at, id, target }: { readonly id: string; readonly target: Target | null; readonly at: Instant }
): NewActivity => ({
  ...fromTemplate(template, id, target),
  priority: template.priority ?? USUAL_PRIORITY,
  dueAt: dueAt(template, at)
})
