/**
 * Whether the platform is alive and able to do its work.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { Forbidden } from "./problems.ts"

export const Readiness = Schema.Struct({
  status: Schema.Literals(["ready", "not ready"]),
  dependencies: Schema.Array(
    Schema.Struct({
      name: Schema.String,
      /** Degraded: it is down, and everything goes on without it. */
      state: Schema.Literals(["up", "degraded", "down"]),
      detail: Schema.NullOr(Schema.String)
    })
  )
}).annotate({ identifier: "Readiness" })
export type Readiness = typeof Readiness.Type

export class HealthApi extends HttpApiGroup.make("health").add(
  HttpApiEndpoint.get("health", "/health", {
    success: Schema.Struct({ status: Schema.Literal("ok") }).annotate({ identifier: "Health" })
  }).annotate(OpenApi.Summary, "The process answers"),
  HttpApiEndpoint.get("ready", "/ready", {
    success: [Readiness, Readiness.annotate({ identifier: "NotReady" }).pipe(HttpApiSchema.status(503))]
  }).annotate(OpenApi.Summary, "200 when no needed dependency is down, else 503; each with its state"),
  HttpApiEndpoint.get("metrics", "/metrics", {
    success: Schema.String.pipe(HttpApiSchema.asText({ contentType: "text/plain; version=0.0.4; charset=utf-8" })),
    error: Forbidden
  }).annotate(OpenApi.Summary, "Prometheus metrics; from this machine, or with the command line's token")
) {}
