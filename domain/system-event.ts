/**
 * What happened that people or other services want to know of.
 * @module
 */
import { Schema } from "effect"
import { Instant, RuleId, TenantId, Uuid } from "./ids.ts"
import { jsonBytes } from "./record-json.ts"
import { Topics } from "./topics.ts"

export const Severity = Schema.Literals(["info", "low", "warning", "medium", "high", "critical"])
export type Severity = typeof Severity.Type

/** Value of `events.v1`, key = entity. Written to system_events in its maker's transaction, published from there by the relay. */
export const SystemEvent = Schema.Struct({
  id: Uuid, // v5(alarm or entity, eventType, occurredAt, severity)
  tenantId: TenantId,
  entityType: Schema.Literals(["device", "asset", "organization"]),
  entityId: Uuid,
  occurredAt: Instant,
  eventType: Schema.Literals([
    "THRESHOLD_BREACH",
    "THRESHOLD_CLEARED",
    "THRESHOLD_RETRACTED",
    "DEVICE_ONLINE",
    "DEVICE_OFFLINE",
    "DEVICE_CREATED",
    "CHUNK_TIMEOUT",
    "CERTIFICATE_EXPIRING",
    "CERTIFICATE_REFUSED",
    "SECURITY_VIOLATION",
    "DLQ_HIGH"
  ]),
  severity: Severity,
  ruleId: Schema.optionalKey(RuleId),
  alarmId: Schema.optionalKey(Uuid),
  payload: Schema.JsonObject
})
export type SystemEvent = typeof SystemEvent.Type

/** The record that tells of it. `traceparent`: of what led to it, where that is sampled. */
export const eventRecord = (event: SystemEvent, traceparent?: string) => ({
  topic: Topics.events,
  key: event.entityId,
  value: jsonBytes(event),
  headers: {
    "message-id": event.id,
    "tenant-id": event.tenantId,
    "received-at": String(event.occurredAt),
    "content-type": "application/json",
    "event-type": event.eventType,
    ...(traceparent !== undefined && { traceparent })
  }
})
