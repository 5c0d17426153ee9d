/**
 * Messages: what became of one.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { ProcessingMode } from "../envelope.ts"
import { Uuid } from "../ids.ts"
import { stageStates, traceStatuses } from "../message-trace.ts"
import { RequiredPermission } from "../permissions.ts"
import { MetricValue, Quality } from "../readings.ts"
import { DeadLetterItem } from "./dead-letters.ts"
import { NotFound } from "./problems.ts"
import { idParams, IsoInstant } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"
import { Transaction } from "./transactions.ts"

const Place = Schema.Struct({
  topic: Schema.String,
  partition: Schema.Int,
  offset: Schema.String
}).annotate({ identifier: "MessagePlace" })

export const TraceStage = Schema.Struct({
  group: Schema.String,
  topic: Schema.String, // that the group reads
  partition: Schema.NullOr(Schema.Int), // null: of an asset's partition, or not known
  offset: Schema.NullOr(Schema.String), // of the message in it; null: not found there
  next: Schema.NullOr(Schema.String), // the next offset that the group takes: it has not taken the message while offset >= next
  processedUntil: Schema.NullOr(IsoInstant), // received-at up to which the group has come in the partition
  state: Schema.Literals(stageStates)
}).annotate({ identifier: "TraceStage" })
export type TraceStage = typeof TraceStage.Type

const reading = {
  readingId: Uuid,
  timestamp: IsoInstant,
  metrics: Schema.Record(Schema.String, MetricValue),
  quality: Schema.NullOr(Schema.Record(Schema.String, Quality)), // only of metrics that are not good
  configVersion: Schema.Int,
  late: Schema.Boolean // came too late to take part in what follows
}

export const MessageTrace = Schema.Struct({
  messageId: Uuid,
  status: Schema.Literals(traceStatuses),
  summary: Schema.String,
  receivedAt: IsoInstant,
  source: Schema.NullOr(Schema.String), // by which it came; null of a whole that was put together from chunks
  deviceId: Schema.NullOr(Uuid),
  mqttTopic: Schema.NullOr(Schema.String),
  clientId: Schema.NullOr(Schema.String),
  contentType: Schema.NullOr(Schema.String),
  size: Schema.NullOr(Schema.Int), // of the payload in bytes
  traceId: Schema.NullOr(Schema.String), // of OpenTelemetry, where it was sampled and the topic still holds it
  raw: Schema.NullOr(Place), // where the untouched message lies, or lay
  route: Schema.NullOr(Schema.Struct({ processingMode: ProcessingMode, deviceTypeId: Uuid, typeVersion: Schema.Int })), // null: not known, or there is no such device
  stages: Schema.Array(TraceStage),
  transaction: Schema.NullOr(Transaction), // of a gateway's message
  chunks: Schema.Array(Schema.Struct({ messageId: Uuid, sequence: Schema.Int })), // of the message that it is, or is a part of
  duplicateOf: Schema.NullOr(Uuid),
  readingCount: Schema.Int,
  readings: Schema.Array(Schema.Struct({ deviceId: Uuid, ...reading })), // at most 500
  assets: Schema.Array(
    Schema.Struct({
      assetId: Uuid,
      name: Schema.String,
      timestamp: IsoInstant,
      reading: Schema.NullOr(Schema.Struct(reading)) // null: nothing is stored for it at that instant
    })
  ),
  alarms: Schema.Array(
    Schema.Struct({
      id: Uuid,
      ruleId: Uuid,
      entityType: Schema.Literals(["device", "asset"]),
      entityId: Uuid,
      state: Schema.String,
      severity: Schema.String,
      startedAt: IsoInstant,
      message: Schema.String
    })
  ), // that one of the readings raised
  events: Schema.Array(
    Schema.Struct({
      id: Uuid,
      eventType: Schema.String,
      entityId: Uuid,
      alarmId: Schema.NullOr(Uuid),
      severity: Schema.String,
      occurredAt: IsoInstant
    })
  ),
  activities: Schema.Array(
    Schema.Struct({ id: Uuid, name: Schema.String, state: Schema.String, createdAt: IsoInstant })
  ),
  deadLetters: Schema.Array(DeadLetterItem),
  jobs: Schema.Array(Schema.Struct({ id: Uuid, kind: Schema.String, state: Schema.String })) // replays that published it again
}).annotate({ identifier: "MessageTrace" })
export type MessageTrace = typeof MessageTrace.Type

export class MessagesApi extends HttpApiGroup.make("messages")
  .add(
    HttpApiEndpoint.get("trace", "/:messageId/trace", {
      params: { messageId: idParams.id },
      success: MessageTrace,
      error: NotFound
    })
      .annotate(RequiredPermission, "dead-letters:read")
      .annotate(OpenApi.Summary, "What became of one message")
      .annotate(
        OpenApi.Description,
        "From the id that a device was answered with, or that a reading names: when and by what it was received, how it was " +
          "routed, how far each service has come, the readings, assets, alarms, events and activities that came of it, or " +
          "why nothing did. It is told from what is stored; a message is known as long as the audit copy or the log holds it. " +
          "Messages of devices that nobody knows are shown to those who operate the platform."
      )
  )
  .prefix("/api/v1/messages")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
