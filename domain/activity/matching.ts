/**
 * Which templates an event calls for.
 * @module
 */
import { Option, Schema } from "effect"
import { RuleAction } from "../rule/rule.ts"
import { type SystemEvent } from "../system-event.ts"
import { type Template } from "./activity.ts"

const decodeActions = Schema.decodeUnknownOption(Schema.Array(RuleAction))

/** These end an alarm: what its rule does when it is raised is not done again. */
const endings: ReadonlySet<string> = new Set(["THRESHOLD_CLEARED", "THRESHOLD_RETRACTED"])

/** What the event itself asks for, from `actions` in its payload: none where there are none, or where they cannot be read. */
export const actionsOf = (event: SystemEvent): ReadonlyArray<RuleAction> =>
  endings.has(event.eventType) ? [] : Option.getOrElse(decodeActions(event.payload["actions"]), () => [])

/** The templates that the event's own actions name; undefined where they name none, so that triggers decide. */
export const namedTemplates = (event: SystemEvent): ReadonlyArray<string> | undefined => {
  const named = actionsOf(event).flatMap((action) => (action.type === "create_activity" ? [action.templateId] : []))
  return named.length === 0 ? undefined : [...new Set(named)]
}

/** Of the entity that an event is about. */
export interface Entity {
  /** Undefined for what is no asset, or an asset that is gone. */
  readonly assetTypeId: string | undefined
}

const isAmong = <A>(allowed: ReadonlyArray<A> | undefined, value: A | undefined): boolean =>
  allowed === undefined || (value !== undefined && allowed.includes(value))

/** Whether its trigger and filter take the event in. */
export const isTriggered = ({ filter, trigger }: Template, event: SystemEvent, { assetTypeId }: Entity): boolean =>
  trigger === event.eventType &&
  isAmong(filter.severities, event.severity) &&
  isAmong(filter.entityTypes, event.entityType) &&
  isAmong(filter.assetTypeIds, assetTypeId)

/**
 * The active templates of the event's tenant that it calls for, each once, in the order of their ids. Those that its
 * actions name are then the only ones, whatever their triggers and filters say; one that is gone or not active is left out.
 */
export const templatesFor = (
  event: SystemEvent,
  templates: ReadonlyArray<Template>,
  entity: Entity
): ReadonlyArray<Template> => {
  const named = namedTemplates(event)
  return templates
    .filter(({ tenantId }) => tenantId === event.tenantId)
    .filter((template) => (named === undefined ? isTriggered(template, event, entity) : named.includes(template.id)))
    .toSorted((one, other) => (one.id < other.id ? -1 : 1))
}
