/**
 * Looking into the running platform: topics, records, consumers, caches. Across organisations, so for platform
 * administrators and the command line only.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { InvalidRequest, NotFound } from "./problems.ts"
import { InstantFromIso, IsoInstant, limit } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

/** Offsets exceed what a JSON number holds safely, so they are decimal text. */
const Offset = Schema.String.check(Schema.isPattern(/^\d{1,19}$/))

export const TopicState = Schema.Struct({
  name: Schema.String,
  retentionMillis: Schema.Int,
  retentionBytes: Schema.Int,
  maxRecordBytes: Schema.Int,
  partitions: Schema.Array(Schema.Struct({ partition: Schema.Int, start: Offset, end: Offset }))
}).annotate({ identifier: "TopicState" })

export const BusRecordView = Schema.Struct({
  partition: Schema.Int,
  offset: Offset,
  appendedAt: IsoInstant,
  key: Schema.String,
  headers: Schema.Record(Schema.String, Schema.String),
  payload: Schema.String,
  encoding: Schema.Literals(["text", "base64"]) // base64 where the payload is no UTF-8 text
}).annotate({ identifier: "BusRecord" })

export const ConsumerState = Schema.Struct({
  group: Schema.String,
  topic: Schema.String,
  partition: Schema.Int,
  next: Offset, // of a stopped one: the stored offset that does not fit the log
  end: Offset,
  lag: Schema.Int,
  lagSeconds: Schema.Finite,
  state: Schema.Literals(["running", "waiting", "stopped", "elsewhere"]), // elsewhere: another process reads it, or none
  detail: Schema.NullOr(Schema.String)
}).annotate({ identifier: "ConsumerState" })

/** A partition of a consumer group that has stopped because its offset does not fit the log. */
export const StoppedPartition = Schema.Struct({
  group: Schema.String,
  topic: Schema.String,
  partition: Schema.Int
}).annotate({ identifier: "StoppedPartition" })

export const Invalidation = Schema.Union([
  Schema.Struct({ type: Schema.Literals(["device", "device-type"]), id: Uuid }),
  Schema.Struct({ type: Schema.Literal("all") })
]).annotate({ identifier: "Invalidation" })

/** Where a group begins again: `offset`, or the first record appended at `time` or later; one of them. All partitions, or some. */
export const Rewinding = Schema.Struct({
  group: Schema.String,
  topic: Schema.optionalKey(Schema.String),
  partition: Schema.optionalKey(Schema.Int),
  offset: Schema.optionalKey(Offset), // within what the log holds: below its start it is the oldest record
  time: Schema.optionalKey(InstantFromIso)
}).annotate({ identifier: "Rewinding" })

const items = <S extends Schema.Top>(item: S, identifier: string) =>
  Schema.Struct({ items: Schema.Array(item) }).annotate({ identifier })

export class OperationsApi extends HttpApiGroup.make("operations")
  .add(
    HttpApiEndpoint.get("topics", "/topics", { success: items(TopicState, "TopicList") }).annotate(
      OpenApi.Summary,
      "Every topic with the range of each partition"
    ),
    HttpApiEndpoint.get("records", "/topics/:topic/records", {
      params: { topic: Schema.String },
      query: {
        partition: Schema.optionalKey(Schema.Int.check(Schema.isGreaterThanOrEqualTo(0))), // 0
        offset: Schema.optionalKey(Offset), // the newest records when neither this nor time is given
        time: Schema.optionalKey(InstantFromIso), // the first record appended at or after it
        limit: Schema.optionalKey(limit(500)) // 100
      },
      success: Schema.Struct({
        items: Schema.Array(BusRecordView),
        next: Offset // the offset to go on from
      }).annotate({ identifier: "RecordPage" }),
      error: [NotFound, InvalidRequest]
    }).annotate(OpenApi.Summary, "Records of one partition, in order"),
    HttpApiEndpoint.get("consumers", "/consumers", { success: items(ConsumerState, "ConsumerList") }).annotate(
      OpenApi.Summary,
      "How far each consumer group has come"
    ),
    HttpApiEndpoint.post("accept", "/consumers/accept", {
      payload: StoppedPartition,
      success: Schema.Struct({ next: Offset }).annotate({ identifier: "AcceptedOffset" }),
      error: NotFound
    })
      .annotate(OpenApi.Summary, "Go on with a stopped partition at the oldest record of the log")
      .annotate(
        OpenApi.Description,
        "A decision that cannot be taken back: what the log has lost never comes to this group. What the group has stored " +
          "already is recognised and not stored twice."
      ),
    HttpApiEndpoint.post("acceptGroup", "/consumers/:group/accept", {
      params: { group: Schema.String },
      payload: Schema.Struct({ topic: Schema.String, partition: Schema.Int }).annotate({
        identifier: "StoppedPartitionOfGroup",
        examples: [{ topic: "telemetry.normalized.v1", partition: 0 }]
      }),
      success: Schema.Struct({ next: Offset }).annotate({ identifier: "AcceptedOffset" }),
      error: NotFound
    }).annotate(OpenApi.Summary, "The same as POST /api/v1/consumers/accept, with the group in the path"),
    HttpApiEndpoint.post("rewind", "/consumers/rewind", {
      payload: Rewinding,
      success: items(
        Schema.Struct({ topic: Schema.String, partition: Schema.Int, next: Offset }).annotate({
          identifier: "Rewound"
        }),
        "RewoundList"
      ),
      error: [NotFound, InvalidRequest]
    })
      .annotate(OpenApi.Summary, "Let a consumer group go on from an earlier record, or a later one")
      .annotate(
        OpenApi.Description,
        "What the group has stored already is recognised and not stored twice. Going on from a later record skips those in " +
          "between. It takes a few seconds."
      ),
    HttpApiEndpoint.post("invalidate", "/cache/invalidate", {
      payload: Invalidation,
      success: HttpApiSchema.NoContent
    }).annotate(OpenApi.Summary, "Forget what is cached of a device, a device type, or everything")
  )
  .prefix("/api/v1")
  .middleware(ReadableRequest)
  .middleware(Authorization)
  .annotateEndpoints(RequiredPermission, "platform:operate") {}
