/**
 * Templates and events as the tests of activities have them.
 * @module
 */
import { type Template } from "@argusiq/domain/activity/activity.ts"
import { type RuleId, type TenantId } from "@argusiq/domain/ids.ts"
import { type SystemEvent } from "@argusiq/domain/system-event.ts"
import { uuidV5 } from "@argusiq/domain/uuid.ts"

export const namespace = "6f0c4b58-3a0e-5a53-9a5e-0d6a3ad5c0de"
export const idOf = (name: string) => uuidV5(namespace, name)

export const tenantId = idOf("tenant") as TenantId
export const occurredAt = 1_763_700_000_000_000
export const hours = (count: number) => count * 3_600_000_000

export const template = (name: string, more: Partial<Template> = {}): Template => ({
  id: idOf(`template ${name}`),
  tenantId,
  activityTypeId: idOf("type"),
  name,
  description: "",
  trigger: "THRESHOLD_BREACH",
  filter: {},
  priority: null,
  assignedRole: null,
  assignedUserId: null,
  dueInHours: null,
  checklist: [],
  customAttributes: {},
  ...more
})

export const event = (name: string, more: Partial<SystemEvent> = {}): SystemEvent => ({
  id: idOf(`event ${name}`),
  tenantId,
  entityType: "asset",
  entityId: idOf("pump"),
  occurredAt,
  eventType: "THRESHOLD_BREACH",
  severity: "critical",
  payload: {},
  ...more
})

export const ofAlarm = (name: string) => ({ alarmId: idOf(`alarm ${name}`), ruleId: idOf("rule") as RuleId })
