/**
 * Organizations with activity templates, events on the bus, and what became of them.
 * @module
 */
import { type Template } from "@argusiq/domain/activity/activity.ts"
import { type RuleId, type TenantId } from "@argusiq/domain/ids.ts"
import { eventRecord, type SystemEvent } from "@argusiq/domain/system-event.ts"
import { Bus } from "@argusiq/layers/bus/Bus.ts"
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"

export interface Organization {
  readonly tenantId: TenantId
  readonly activityTypeId: string
}

export const makeOrganization = Effect.gen(function* () {
  const sql = yield* OwnerSql
  const [tenantId, activityTypeId] = [randomUUID() as TenantId, randomUUID()]
  yield* sql`insert into organizations (id, name, slug) values (${tenantId}, 'T', ${tenantId})`
  yield* sql`insert into activity_types (id, tenant_id, name) values (${activityTypeId}, ${tenantId}, 'Repair')`
  return { tenantId, activityTypeId } satisfies Organization
})

export const addTemplate = Effect.fnUntraced(function* (
  { activityTypeId, tenantId }: Organization,
  more: Partial<Omit<Template, "id" | "tenantId" | "activityTypeId">> = {}
) {
  const sql = yield* OwnerSql
  const id = randomUUID()
  yield* sql`insert into activity_templates ${sql.insert({
    id,
    tenant_id: tenantId,
    activity_type_id: activityTypeId,
    name: more.name ?? `Template ${id}`,
    trigger_event_type: more.trigger ?? "THRESHOLD_BREACH",
    filter: sql.json(more.filter ?? {}),
    priority: more.priority ?? null,
    assigned_role: more.assignedRole ?? null,
    assigned_user_id: more.assignedUserId ?? null,
    due_in_hours: more.dueInHours ?? null,
    checklist: sql.json(more.checklist ?? []),
    custom_attributes: sql.json(more.customAttributes ?? {})
  })}`
  return id
})

/** A person with a role in the organization. */
export const addMember = Effect.fnUntraced(function* ({ tenantId }: Organization, role: string, email: string) {
  const sql = yield* OwnerSql
  const userId = randomUUID()
  yield* sql`insert into users (id, email, name) values (${userId}, ${email}, ${email})`
  yield* sql`insert into memberships (id, tenant_id, user_id, role) values (${randomUUID()}, ${tenantId}, ${userId}, ${role})`
  return userId
})

export const breach = ({ tenantId }: Organization, more: Partial<SystemEvent> = {}): SystemEvent => ({
  id: randomUUID(),
  tenantId,
  entityType: "device",
  entityId: randomUUID(),
  occurredAt: Date.now() * 1_000,
  eventType: "THRESHOLD_BREACH",
  severity: "critical",
  payload: {},
  ...more
})

export const ofAlarm = (alarmId: string) => ({ alarmId, ruleId: randomUUID() as RuleId })

export const publish = (...events: ReadonlyArray<SystemEvent>) =>
  Effect.flatMap(Bus, (bus) => bus.publish(events.map((event) => eventRecord(event))))

export interface StoredActivity {
  readonly id: string
  readonly template_id: string | null
  readonly event_id: string | null
  readonly target_id: string | null
  readonly state: string
  readonly priority: number
  readonly name: string
  readonly items: number
  readonly events: number
  readonly due: number | null
}

/** Of an organization, the oldest first. */
export const activitiesOf = Effect.fnUntraced(function* ({ tenantId }: Pick<Organization, "tenantId">) {
  const sql = yield* OwnerSql
  return yield* sql<StoredActivity>`
    select id, template_id, event_id, target_id, state, priority, name,
      (select count(*)::int from activity_items where activity_id = activity.id) as items,
      (select count(*)::int from activity_events where activity_id = activity.id) as events,
      (extract(epoch from due_at) * 1000000)::float8 as due
    from activities activity where tenant_id = ${tenantId} order by sequence`
})

export const noticesOf = Effect.fnUntraced(function* ({ tenantId }: Pick<Organization, "tenantId">) {
  const sql = yield* OwnerSql
  const notifications = yield* sql<{
    id: string
    channel: string
    recipients: ReadonlyArray<string>
    state: string
    event_id: string | null
    activity_id: string | null
    error: string | null
    delivered_to: ReadonlyArray<string>
    attempts: number
  }>`select id, channel, recipients, state, event_id, activity_id, error, delivered_to, attempts from notifications
    where tenant_id = ${tenantId} order by channel, created_at`
  const deliveries = yield* sql<{
    id: string
    url: string
    state: string
    attempts: number
    error: string | null
    last_status: number | null
    waits: number
  }>`select id, url, state, attempts, error, last_status,
      extract(epoch from next_at - first_attempt_at)::float8 as waits
    from webhook_deliveries where tenant_id = ${tenantId} order by created_at, url`
  return { notifications, deliveries }
})
