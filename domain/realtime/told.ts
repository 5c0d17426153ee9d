/**
 * What a live connection is told: the name of each Socket.IO event and what it carries. Times are ISO 8601 in UTC. What a
 * later version adds are keys; whoever reads ignores those it does not know.
 * @module
 */
import { Schema } from "effect"
import { AssignedRole, Priority, TargetType } from "../activity/activity.ts"
import { IsoInstant } from "../http/scalars.ts"
import { Transaction } from "../http/transactions.ts"
import { AssetId, DeviceId, RuleId, Uuid } from "../ids.ts"
import { MetricValue, Quality } from "../readings.ts"
import { Severity, SystemEvent } from "../system-event.ts"

const measured = {
  metrics: Schema.Record(Schema.String, MetricValue),
  timestamp: IsoInstant, // of the newest of the metrics
  timestamps: Schema.optionalKey(Schema.Record(Schema.String, IsoInstant)), // of the metrics that are older
  quality: Schema.optionalKey(Schema.Record(Schema.String, Quality)), // of the metrics that are not good
  omitted: Schema.optionalKey(Schema.Array(Schema.String)) // metrics whose value is too large to be told: read them by REST
}

const event = {
  eventId: Uuid,
  type: SystemEvent.fields.eventType,
  entityType: SystemEvent.fields.entityType,
  entityId: Uuid,
  severity: Severity,
  occurredAt: IsoInstant,
  ruleId: Schema.NullOr(RuleId),
  alarmId: Schema.NullOr(Uuid),
  payload: Schema.JsonObject
}

/** By event. Telemetry goes to who has subscribed to the device or asset, the rest also to the whole organisation. */
export const Told = {
  "telemetry:new": Schema.Struct({ deviceId: DeviceId, ...measured }),
  "asset:telemetry": Schema.Struct({ assetId: AssetId, ...measured, healthScore: Schema.NullOr(Schema.Finite) }),
  "asset:healthscore": Schema.Struct({
    assetId: AssetId,
    healthScore: Schema.Finite,
    previousScore: Schema.NullOr(Schema.Finite), // null: there was none, or it is not known
    timestamp: IsoInstant
  }),
  "device:status": Schema.Struct({
    deviceId: DeviceId,
    status: Schema.Literals(["online", "offline"]),
    lastSeen: Schema.NullOr(IsoInstant) // the last sign of life
  }),
  "device:connected": Schema.Struct({ deviceId: DeviceId, connectedAt: IsoInstant }),
  "device:disconnected": Schema.Struct({ deviceId: DeviceId, disconnectedAt: IsoInstant, reason: Schema.String }),
  "event:created": Schema.Struct(event),
  "event:updated": Schema.Struct({
    ...event,
    acknowledgedAt: Schema.NullOr(IsoInstant),
    acknowledgedBy: Schema.NullOr(Uuid),
    dismissedAt: Schema.NullOr(IsoInstant),
    dismissedBy: Schema.NullOr(Uuid),
    commentCount: Schema.Int,
    alarm: Schema.NullOr(
      Schema.Struct({
        state: Schema.Literals(["active", "cleared", "retracted"]),
        severity: Severity,
        endedAt: Schema.NullOr(IsoInstant),
        acknowledgedAt: Schema.NullOr(IsoInstant),
        acknowledgedBy: Schema.NullOr(Uuid),
        commentCount: Schema.Int
      })
    )
  }),
  "activity:created": Schema.Struct({
    activityId: Uuid,
    name: Schema.String,
    priority: Priority,
    assignedTo: Schema.NullOr(Uuid), // a user
    assignedRole: Schema.NullOr(AssignedRole),
    dueAt: Schema.NullOr(IsoInstant),
    createdAt: IsoInstant,
    targetType: Schema.NullOr(TargetType),
    targetId: Schema.NullOr(Uuid),
    eventId: Schema.NullOr(Uuid)
  }),
  "transaction:updated": Transaction,
  /** Something was not told: read it again by REST. With an entity only what concerns it. */
  refetch: Schema.Struct({
    /** `slow`: this connection did not take telemetry as fast as it came. `behind`: the platform was behind and went on with
     * what is new. `corrected`: what was told last of the asset is not so any more. `missed`: changes of events or
     * transactions may have been missed while the database was away. */
    reason: Schema.Literals(["slow", "behind", "corrected", "missed"]),
    entityType: Schema.optionalKey(Schema.Literals(["device", "asset"])),
    entityId: Schema.optionalKey(Uuid)
  }),
  /** The connection is closed after this: sign in, or refresh the token, and connect again. */
  "session:ended": Schema.Struct({ reason: Schema.Literals(["expired", "ended"]), message: Schema.String })
} as const

export type ToldName = keyof typeof Told
export type ToldPayload<Name extends ToldName> = (typeof Told)[Name]["Type"]
/** As Socket.IO's types want them. */
export type ServerEvents = { [Name in ToldName]: (payload: ToldPayload<Name>) => void }

/** One event with what it carries. */
export type OneTold = { [Name in ToldName]: { readonly name: Name; readonly payload: ToldPayload<Name> } }[ToldName]
