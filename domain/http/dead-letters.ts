/**
 * Dead letters: what could not be processed, why, and retrying it once the cause is removed.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { DeviceId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { InvalidRequest, NotFound, Unprocessable } from "./problems.ts"
import { Cursor, idParams, InstantFromIso, IsoInstant, limit, page, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

export const DeadLetterState = Schema.Literals([
  "open", // waits for somebody to act
  "retrying", // asked for again, and its group has not come to it yet
  "resolved" // its group has taken it without failing again
])
export type DeadLetterState = typeof DeadLetterState.Type

export const DeadLetterItem = Schema.Struct({
  id: Uuid, // stays when a retry fails again
  topic: Schema.String, // the dead-letter topic that holds it
  group: Schema.String, // the consumer group that failed; argusiq.bridge: it was refused at the door
  stage: Schema.String,
  reason: Schema.String,
  message: Schema.String,
  entry: Schema.NullOr(Schema.Int), // of the message; null: the whole message
  deviceId: Schema.NullOr(Uuid),
  messageId: Schema.NullOr(Uuid),
  receivedAt: IsoInstant,
  failedAt: IsoInstant, // last
  size: Schema.Int, // of the payload in bytes
  retries: Schema.Int,
  state: DeadLetterState,
  retriedAt: Schema.NullOr(IsoInstant),
  resolvedAt: Schema.NullOr(IsoInstant)
}).annotate({ identifier: "DeadLetter" })
export type DeadLetterItem = typeof DeadLetterItem.Type

const Place = Schema.Struct({
  topic: Schema.String,
  partition: Schema.NullOr(Schema.Int), // null of what never was on the bus
  offset: Schema.NullOr(Schema.String)
}).annotate({ identifier: "RecordPlace" })

export const DeadLetterDetail = Schema.Struct({
  ...DeadLetterItem.fields,
  error: Schema.Struct({ reason: Schema.String, message: Schema.String, path: Schema.NullOr(Schema.String) }),
  headers: Schema.Record(Schema.String, Schema.String),
  place: Place, // on the dead-letter topic
  original: Place, // where it was read and could not be processed
  payload: Schema.NullOr(
    Schema.Struct({
      text: Schema.NullOr(Schema.String), // null where the payload is no UTF-8; at most 64 KiB of it
      hex: Schema.String, // of at most the first 4 KiB
      truncated: Schema.Boolean // the text does not show all of it
    })
  ) // null: the topic no longer holds it
}).annotate({ identifier: "DeadLetterDetail" })
export type DeadLetterDetail = typeof DeadLetterDetail.Type

const name = text(200)
const selection = {
  topic: Schema.optionalKey(name), // the dead-letter topic or the topic that was read
  group: Schema.optionalKey(name),
  reason: Schema.optionalKey(name),
  deviceId: Schema.optionalKey(DeviceId)
}

export const DeadLetterQuery = Schema.Struct({
  ...selection,
  messageId: Schema.optionalKey(Uuid),
  startTime: Schema.optionalKey(InstantFromIso), // of received-at, inclusive
  endTime: Schema.optionalKey(InstantFromIso), // exclusive
  state: Schema.optionalKey(Schema.Literals([...DeadLetterState.literals, "all"])), // those not resolved unless told
  limit: Schema.optionalKey(limit(500)),
  cursor: Schema.optionalKey(Cursor),
  sort: Schema.optionalKey(Schema.Literals(["receivedAt", "-receivedAt"])) // newest first unless told
})
export type DeadLetterQuery = typeof DeadLetterQuery.Type

export const DeadLetterFilter = Schema.Struct({
  ...selection,
  startTime: Schema.optionalKey(InstantFromIso),
  endTime: Schema.optionalKey(InstantFromIso)
}).annotate({ identifier: "DeadLetterFilter" })
export type DeadLetterFilter = typeof DeadLetterFilter.Type

export const RetryRequest = Schema.Struct({
  ids: Schema.optionalKey(Schema.NonEmptyArray(Uuid).check(Schema.isMaxLength(1_000))),
  filter: Schema.optionalKey(DeadLetterFilter),
  all: Schema.optionalKey(Schema.Literal(true)),
  // Instead of received-at: the configuration that was in force then applies; "now" after a device type was corrected.
  configAt: Schema.optionalKey(Schema.Union([Schema.Literal("now"), InstantFromIso])),
  entry: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 0x7fff_ffff }))) // of one message, given by its id
})
  .check(
    Schema.makeFilter(
      (request) =>
        [request.ids, request.filter, request.all].filter((given) => given !== undefined).length === 1 ||
        "name what to retry by one of ids, filter and all"
    )
  )
  .annotate({ identifier: "RetryRequest", examples: [{ all: true, configAt: "now" }] })
export type RetryRequest = typeof RetryRequest.Type

export const RetryAnswer = Schema.Struct({
  retried: Schema.Int, // how many are retried by this request
  alreadyRetrying: Schema.Int, // somebody was faster
  alreadyResolved: Schema.Int,
  repairsHistory: Schema.Int, // of those retried: too old for alarms and events
  message: Schema.String
}).annotate({ identifier: "RetryAnswer" })
export type RetryAnswer = typeof RetryAnswer.Type

export class DeadLettersApi extends HttpApiGroup.make("deadLetters")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: DeadLetterQuery.fields,
      success: page(DeadLetterItem, "DeadLetterPage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "dead-letters:read")
      .annotate(OpenApi.Summary, "Dead letters, page by page"),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: DeadLetterDetail, error: NotFound })
      .annotate(RequiredPermission, "dead-letters:read")
      .annotate(OpenApi.Summary, "One dead letter with its headers and its payload"),
    HttpApiEndpoint.post("retry", "/retry", {
      payload: RetryRequest,
      success: RetryAnswer.pipe(HttpApiSchema.status(202)),
      error: Unprocessable
    })
      .annotate(RequiredPermission, "dead-letters:retry")
      .annotate(OpenApi.Summary, "Process dead letters again: some by their ids, those of a filter, or all")
      .annotate(
        OpenApi.Description,
        "The untouched bytes go once more to the consumer group that failed, and to no other. A dead letter is resolved when " +
          "that group has taken it; what a later group refuses of it is a dead letter of that group. Each is retried once " +
          "per request, also where several people ask at once. Readings older than 30 seconds repair the history only."
      )
  )
  .prefix("/api/v1/dlq")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
