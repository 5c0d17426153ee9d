/**
 * Replay and reprocess: work on what was received before, asked for, looked at and cancelled.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { DeviceId, DeviceTypeId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { ReplaySource, ReplayTarget } from "../replay.ts"
import { Conflict, InvalidRequest, NotFound } from "./problems.ts"
import { idParams, InstantFromIso, IsoInstant, page, shortPageQuery } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

export const JobKind = Schema.Literals(["replay", "reprocess", "rebuild", "import", "export"])
export type JobKind = typeof JobKind.Type
export const JobState = Schema.Literals(["queued", "running", "completed", "failed", "cancelled"])
export type JobState = typeof JobState.Type

const progress = {
  jobId: Uuid,
  status: JobState,
  progress: Schema.Int, // messages done with; of a rebuild devices or assets
  total: Schema.NullOr(Schema.Int), // an estimate until it has completed
  startedAt: Schema.NullOr(IsoInstant),
  completedAt: Schema.NullOr(IsoInstant),
  error: Schema.NullOr(Schema.String) // why it failed, was cancelled or waits, and what to do
}
export const Job = Schema.Struct({
  ...progress,
  kind: JobKind,
  parameters: Schema.JsonObject,
  createdAt: IsoInstant
}).annotate({ identifier: "Job" })
export type Job = typeof Job.Type

const AcceptedJob = Schema.Struct({
  jobId: Uuid,
  status: JobState,
  estimatedMessages: Schema.Int, // from the topic: at most
  estimatedDuration: Schema.Int // seconds, once it has begun and nothing else is to do
}).annotate({ identifier: "AcceptedJob" })

export const ReplayRequest = Schema.Struct({
  deviceId: Schema.optionalKey(DeviceId),
  deviceTypeId: Schema.optionalKey(DeviceTypeId), // with neither: every device of the organisation
  startTime: InstantFromIso, // received from then on
  endTime: InstantFromIso, // received before then
  source: ReplaySource,
  targetStream: ReplayTarget,
  sideEffects: Schema.optionalKey(Schema.Boolean) // only false: alarms of the past are made by a rebuild
}).annotate({ identifier: "ReplayRequest" })

export const ReprocessRequest = Schema.Struct({
  from: InstantFromIso,
  to: InstantFromIso,
  version: Schema.optionalKey(Schema.Int) // the one published last
}).annotate({ identifier: "ReprocessRequest" })

export const JobQuery = Schema.Struct({
  ...shortPageQuery,
  status: Schema.optionalKey(JobState),
  kind: Schema.optionalKey(JobKind)
})
export type JobQuery = typeof JobQuery.Type

const jobParams = { jobId: idParams.id }
const accepted = AcceptedJob.pipe(HttpApiSchema.status(202))

export class JobsApi extends HttpApiGroup.make("jobs")
  .add(
    HttpApiEndpoint.post("replay", "/telemetry/replay", {
      payload: ReplayRequest,
      success: accepted,
      error: [InvalidRequest, NotFound]
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "Publish old messages again")
      .annotate(
        OpenApi.Description,
        "They keep their message id and received-at, so that the configuration of that time applies. Readings that are " +
          "stored already are recognised and stay; what is missing is filled in. To apply another configuration, reprocess. " +
          "What assets and rules make of them is made by a rebuild."
      ),
    HttpApiEndpoint.get("replayState", "/telemetry/replay/:jobId", {
      params: jobParams,
      success: Schema.Struct(progress).annotate({ identifier: "ReplayState" }),
      error: NotFound
    })
      .annotate(RequiredPermission, "telemetry:read")
      .annotate(OpenApi.Summary, "How far a replay has come"),
    HttpApiEndpoint.delete("cancelReplay", "/telemetry/replay/:jobId", {
      params: jobParams,
      success: Schema.Struct(progress).annotate({ identifier: "ReplayState" }),
      error: NotFound
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "Cancel a replay; what it has published stays"),
    HttpApiEndpoint.post("reprocess", "/device-types/:id/reprocess", {
      params: idParams,
      payload: ReprocessRequest,
      success: accepted,
      error: [InvalidRequest, NotFound, Conflict]
    })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "Make the readings of a device type's messages anew")
      .annotate(
        OpenApi.Description,
        "Under the version that was published last, or a chosen one, whichever applied when the messages were received; " +
          "other types that take part count as they are published now. The readings of a message are replaced together; " +
          "latest values and rollups follow. For a type of children these are the messages of their gateways."
      ),
    HttpApiEndpoint.get("list", "/jobs", {
      query: JobQuery.fields,
      success: page(Job, "JobPage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "telemetry:read")
      .annotate(OpenApi.Summary, "Jobs, newest first, page by page"),
    HttpApiEndpoint.get("get", "/jobs/:jobId", { params: jobParams, success: Job, error: NotFound })
      .annotate(RequiredPermission, "telemetry:read")
      .annotate(OpenApi.Summary, "One job"),
    HttpApiEndpoint.delete("cancel", "/jobs/:jobId", { params: jobParams, success: Job, error: NotFound })
      .annotate(RequiredPermission, "device-types:write")
      .annotate(OpenApi.Summary, "Cancel a job; what it has done stays")
  )
  .prefix("/api/v1")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
