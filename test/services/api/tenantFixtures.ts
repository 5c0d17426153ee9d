/**
 * An organization with one thing of every kind that a path can name, so that a walk over all routes can ask for each.
 * @module
 */
import { OwnerSql } from "@argusiq/layers/database/Sql.ts"
import { Effect } from "effect"
import { randomUUID } from "node:crypto"
import { Api } from "./apiServer.ts"

/** Ids by the segment of a path that stands before the parameter: `devices` for `/api/v1/devices/:id`. */
export type Fixtures = Readonly<Record<string, string>>

const breach = { metricKey: "t", warningThreshold: 1, criticalThreshold: 2 }

/** Everything is made in the organization of the token. */
export const makeFixtures = Effect.fnUntraced(function* (token: string, organizationId: string) {
  const api = yield* Api
  const sql = yield* OwnerSql
  const make = (path: string, body: object | undefined) =>
    Effect.map(api.call("POST", `/api/v1${path}`, { token, body }), (answer) => {
      if (answer.status !== 201) throw new Error(`${path}: ${answer.status} ${answer.text}`)
      return answer.body
    })

  const deviceType = yield* make("/device-types", { name: "T", config: { processingMode: "endpoint" } })
  const device = yield* make("/devices", { name: "D", deviceTypeId: deviceType.id })
  const key = yield* make(`/devices/${device.id}/api-keys`, undefined)
  yield* make(`/devices/${device.id}/certificate`, {})
  const user = yield* make("/users", { email: `${organizationId}@example.com`, name: "U", role: "viewer" })
  const [session] = yield* sql<{ id: string }>`select id from sessions where tenant_id = ${organizationId}::uuid`
  const converter = yield* make("/protocol-converters", {
    name: "C",
    sourceProtocol: "modbus",
    targetSchema: null,
    transformationRules: {
      source: { encoding: "hex", path: "$.data" },
      firstRegister: 0,
      registers: [{ name: "voltage", register: 0, type: "uint16" }]
    }
  })
  const assetType = yield* make("/asset-types", { name: "AT", config: {} })
  const profile = yield* make("/asset-profiles", { name: "P", assetTypeId: assetType.id })
  const space = yield* make("/spaces", { name: "S", kind: "site" })
  const asset = yield* make("/assets", { name: "A", profileId: profile.id, spaceId: space.id })
  const group = yield* make("/asset-groups", { name: "G", assetIds: [asset.id] })
  const rule = yield* make("/rules", { name: "R", entityType: "asset", entityId: asset.id, ...breach })
  yield* make(`/devices/${device.id}/assets/${asset.id}/link`, {})
  const activityType = yield* make("/activity-types", { name: "Repair" })
  const template = yield* make("/activity-templates", {
    name: "TP",
    activityTypeId: activityType.id,
    triggerEventType: "MANUAL"
  })
  const activity = yield* make("/activities", {
    name: "AC",
    activityTypeId: activityType.id,
    targetType: "asset",
    targetId: asset.id
  })
  const [alarm, event, notification, delivery, letter, job, schedule, item, message, transaction] = Array.from(
    { length: 10 },
    () => randomUUID()
  ) as [string, string, string, string, string, string, string, string, string, string, string]
  const uploaded = yield* api.call("POST", `/api/v1/assets/${asset.id}/documents?name=a.txt`, {
    token,
    rawBody: "how to",
    headers: { "content-type": "text/plain" }
  })
  if (uploaded.status !== 201) throw new Error(`documents: ${uploaded.status} ${uploaded.text}`)
  yield* sql`insert into schedules (id, tenant_id, template_id, name, every, unit, starts_on, local_time, time_zone,
      target_type, target_id)
    values (${schedule}, ${organizationId}, ${template.id}, 'SC', 1, 'days', '2026-01-01', '08:00', 'UTC', 'asset', ${asset.id})`
  yield* sql`insert into activity_items (id, tenant_id, activity_id, position, item, required)
    values (${item}, ${organizationId}, ${activity.id}, 0, 'I', true)`
  yield* sql`insert into alarms (id, tenant_id, rule_id, rule_version, entity_type, entity_id, state, severity, priority,
      started_at) values (${alarm}, ${organizationId}, ${rule.id}, 1, 'asset', ${asset.id}, 'active', 'high', 2, now())`
  yield* sql`insert into system_events (id, tenant_id, event_type, entity_type, entity_id, severity, occurred_at)
    values (${event}, ${organizationId}, 'x', 'asset', ${asset.id}, 'info', now())`
  yield* sql`insert into notifications (id, tenant_id, source_id, channel, recipients, title, body, severity, state)
    values (${notification}, ${organizationId}, ${event}, 'in_app', '{admin}', 'T', 'B', 'info', 'delivered'),
      (${randomUUID()}, ${organizationId}, ${event}, 'email', '{admin}', 'T', 'B', 'info', 'failed')`
  yield* sql`insert into webhook_deliveries (id, tenant_id, event_id, event_type, url, body, state)
    values (${delivery}, ${organizationId}, ${event}, 'x', 'https://example.com', '{}', 'failed')`
  yield* sql`insert into dead_letters (id, tenant_id, "group", stage, reason, message, topic, partition, "offset", headers,
      size, attempts, failed_at, received_at, device_id)
    values (${letter}, ${organizationId}, 'g', 's', 'r', '', 'telemetry.raw.v1.dlq', 0, 0, '{}', 0, 1, now(), now(), ${device.id})`
  yield* sql`insert into jobs (id, tenant_id, kind, parameters, state)
    values (${job}, ${organizationId}, 'replay', '{}', 'completed')`
  yield* sql`insert into telemetry_raw (message_id, tenant_id, device_id, received_at, payload, size, content_type,
      ingestion_source, topic, partition, "offset")
    values (${message}, ${organizationId}, ${device.id}, now(), 'x', 1, 'application/json', 'http', 'telemetry.raw.v1', 0, 0)`
  yield* sql`insert into telemetry_transactions (id, tenant_id, gateway_device_id, correlation_id, status, started_at)
    values (${transaction}, ${organizationId}, ${device.id}, 'c', 'completed', now())`
  const fixtures: Fixtures = {
    devices: device.id,
    device: device.id,
    "device-types": deviceType.id,
    "api-keys": key.id,
    "protocol-converters": converter.id,
    assets: asset.id,
    asset: asset.id,
    "asset-types": assetType.id,
    "asset-profiles": profile.id,
    "asset-groups": group.id,
    spaces: space.id,
    documents: uploaded.body.id,
    rules: rule.id,
    "threshold-rules": rule.id,
    alarms: alarm,
    events: event,
    "activity-types": activityType.id,
    "activity-templates": template.id,
    "from-template": template.id,
    activities: activity.id,
    items: item,
    "maintenance-schedules": schedule,
    notifications: notification,
    "webhook-deliveries": delivery,
    dlq: letter,
    jobs: job,
    replay: job,
    messages: message,
    users: user.id,
    sessions: session!.id
  }
  return { fixtures, unnamed: [message, transaction, organizationId] }
})
