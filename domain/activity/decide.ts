/**
 * What becomes of events: activities that are made, joined or cancelled. The order of the events is the order in which
 * their entity's partition has them.
 * @module
 */
import { type SystemEvent } from "../system-event.ts"
import { activityForEvent } from "./from-template.ts"
import { type NewActivity, type Template } from "./activity.ts"
import { type Entity, templatesFor } from "./matching.ts"

/** An activity that is pending or in progress, as far as events are concerned with it. */
export interface OpenActivity {
  readonly id: string
  readonly templateId: string | null
  readonly targetId: string | null
  /** The alarms of the event that it was made for and of those that joined it, without those that were retracted. */
  readonly alarmIds: ReadonlySet<string>
  /** Whether all of these events have an alarm. */
  readonly isOfAlarmsOnly: boolean
  /** Pending, and nobody has changed it or any of its items. */
  readonly isUntouched: boolean
}

export interface World {
  readonly templates: ReadonlyArray<Template>
  readonly entityOf: (event: SystemEvent) => Entity
  /** The oldest first. */
  readonly open: ReadonlyArray<OpenActivity>
  /** Which template has dealt with which event: `{event} {template}`. */
  readonly dealtWith: ReadonlySet<string>
}

export const pairOf = (eventId: string, templateId: string): string => `${eventId} ${templateId}`

/** An event that an activity stands for. */
export interface Joined {
  readonly activityId: string
  readonly templateId: string
  readonly event: SystemEvent
}

export interface Decision {
  readonly create: ReadonlyArray<NewActivity>
  /** The events of the activities that are made, too. */
  readonly join: ReadonlyArray<Joined>
  /** Ids of activities. */
  readonly cancel: ReadonlyArray<string>
  /** Ids of alarms. */
  readonly retracted: ReadonlyArray<string>
}

/**
 * An event and a template make one activity, or join the one that is open for the same template and target. An alarm that
 * is retracted cancels an activity that nobody has touched and that stands for no other event.
 */
export const decide = (events: ReadonlyArray<SystemEvent>, world: World): Decision => {
  const create: Array<NewActivity> = []
  const join: Array<Joined> = []
  const cancel: Array<string> = []
  const retracted: Array<string> = []
  const dealtWith = new Set(world.dealtWith)
  // Of several for the same template and target, which people can make, events join the first.
  const open = new Map<string, OpenActivity>()
  for (const activity of world.open.toReversed()) open.set(placeOf(activity), activity)

  for (const event of events) {
    if (event.eventType === "THRESHOLD_RETRACTED" && event.alarmId !== undefined) {
      retracted.push(event.alarmId)
      for (const [place, activity] of open) {
        if (!activity.alarmIds.has(event.alarmId)) continue
        const alarmIds = new Set([...activity.alarmIds].filter((id) => id !== event.alarmId))
        if (activity.isUntouched && activity.isOfAlarmsOnly && alarmIds.size === 0) {
          open.delete(place)
          cancel.push(activity.id)
        } else open.set(place, { ...activity, alarmIds })
      }
    }
    for (const template of templatesFor(event, world.templates, world.entityOf(event))) {
      const pair = pairOf(event.id, template.id)
      if (dealtWith.has(pair)) continue
      dealtWith.add(pair)
      const place = placeOf({ templateId: template.id, targetId: event.entityId })
      const present = open.get(place)
      if (present !== undefined) {
        open.set(place, withEvent(present, event))
        join.push({ activityId: present.id, templateId: template.id, event })
        continue
      }
      const activity = activityForEvent(template, event)
      create.push(activity)
      join.push({ activityId: activity.id, templateId: template.id, event })
      open.set(place, {
        id: activity.id,
        templateId: template.id,
        targetId: event.entityId,
        alarmIds: new Set(event.alarmId === undefined ? [] : [event.alarmId]),
        isOfAlarmsOnly: event.alarmId !== undefined,
        isUntouched: true
      })
    }
  }
  return { create, join, cancel, retracted }
}

const placeOf = ({ targetId, templateId }: Pick<OpenActivity, "targetId" | "templateId">): string =>
  `${templateId} ${targetId}`

const withEvent = (activity: OpenActivity, { alarmId }: SystemEvent): OpenActivity => ({
  ...activity,
  alarmIds: alarmId === undefined ? activity.alarmIds : new Set([...activity.alarmIds, alarmId]),
  isOfAlarmsOnly: activity.isOfAlarmsOnly && alarmId !== undefined
})
