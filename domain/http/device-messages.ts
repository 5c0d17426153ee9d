/**
 * What a device sent, as it sent it: the audit copies of its messages.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { InvalidRequest, NotFound } from "./problems.ts"
import { Cursor, idParams, InstantFromIso, IsoInstant, limit, page } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

/** Bytes of a payload that a list shows. */
export const MAX_SHOWN_BYTES = 65_536

export const DeviceMessage = Schema.Struct({
  messageId: Uuid,
  receivedAt: IsoInstant,
  size: Schema.Int, // of the payload in bytes
  contentType: Schema.String,
  ingestionSource: Schema.String,
  mqttTopic: Schema.NullOr(Schema.String),
  clientId: Schema.NullOr(Schema.String),
  payload: Schema.String, // as it was sent
  encoding: Schema.Literals(["text", "base64"]), // base64 where the payload is no UTF-8 text
  truncated: Schema.Boolean, // the payload is longer than the 64 KiB that are shown
  error: Schema.NullOr(Schema.String), // why it was refused at the door
  errorReason: Schema.NullOr(Schema.String),
  topic: Schema.String, // where it lay on the bus
  partition: Schema.Int,
  offset: Schema.String
}).annotate({ identifier: "DeviceMessage" })
export type DeviceMessage = typeof DeviceMessage.Type

export const DeviceMessageQuery = Schema.Struct({
  startTime: Schema.optionalKey(InstantFromIso), // of received-at, inclusive
  endTime: Schema.optionalKey(InstantFromIso), // exclusive
  limit: Schema.optionalKey(limit(500)),
  cursor: Schema.optionalKey(Cursor),
  sort: Schema.optionalKey(Schema.Literals(["receivedAt", "-receivedAt"])) // newest first unless told
})
export type DeviceMessageQuery = typeof DeviceMessageQuery.Type

export class DeviceMessagesApi extends HttpApiGroup.make("deviceMessages")
  .add(
    HttpApiEndpoint.get("list", "/:id/messages", {
      params: idParams,
      query: DeviceMessageQuery.fields,
      success: page(DeviceMessage, "DeviceMessagePage"),
      error: [NotFound, InvalidRequest]
    })
      .annotate(RequiredPermission, "telemetry:read")
      .annotate(OpenApi.Summary, "What a device sent, as it sent it, page by page")
      .annotate(
        OpenApi.Description,
        "The copies that are kept for audits, also of messages that were refused. A page ends early where its payloads come to 4 MiB."
      )
  )
  .prefix("/api/v1/devices")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
