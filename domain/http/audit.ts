/**
 * The audit log: who changed what, and what threatened the platform.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { TenantId, Uuid } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { InvalidRequest } from "./problems.ts"
import { Cursor, InstantFromIso, IsoInstant, limit, page, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

export const ActorKind = Schema.Literals([
  "user",
  "command-line", // the command line with the installation's own token
  "device",
  "system" // the platform of itself, or somebody who has not signed in
])
export type ActorKind = typeof ActorKind.Type

export const AuditEntry = Schema.Struct({
  id: Uuid,
  occurredAt: IsoInstant,
  organizationId: Schema.NullOr(TenantId), // null: of no organization; only those who operate the platform see it
  actor: Schema.Struct({ kind: ActorKind, id: Schema.NullOr(Uuid) }),
  action: Schema.String, // created, changed and removed of what is configured; of security: sign_in_refused, for example
  entityType: Schema.String,
  entityId: Schema.NullOr(Schema.String),
  before: Schema.NullOr(Schema.Record(Schema.String, Schema.Json)), // null where nothing was
  after: Schema.NullOr(Schema.Record(Schema.String, Schema.Json)), // null where nothing is left
  requestId: Schema.NullOr(Schema.String),
  address: Schema.NullOr(Schema.String),
  count: Schema.Int // how often the same happened within a minute
}).annotate({
  identifier: "AuditEntry",
  examples: [
    {
      id: "0199f3c1-0000-7000-8000-000000000001",
      occurredAt: "2026-01-31T08:00:00.000Z",
      organizationId: TenantId.make("0199f3c1-0000-7000-8000-00000000000a"),
      actor: { kind: "user", id: "0199f3c1-0000-7000-8000-00000000000b" },
      action: "changed",
      entityType: "device",
      entityId: "0199f3c1-0000-7000-8000-00000000000c",
      before: { name: "Pump" },
      after: { name: "Pump 7" },
      requestId: "0d0c3c4e-5d58-4b8d-9d8f-1f2e3d4c5b6a",
      address: "192.0.2.7",
      count: 1
    }
  ]
})
export type AuditEntry = typeof AuditEntry.Type

export const AuditQuery = Schema.Struct({
  actor: Schema.optionalKey(Schema.Union([ActorKind, Uuid])), // a kind of actor, or the id of a user or device
  entityType: Schema.optionalKey(text(100)),
  entityId: Schema.optionalKey(text(200)),
  action: Schema.optionalKey(text(100)),
  requestId: Schema.optionalKey(text(100)),
  from: Schema.optionalKey(InstantFromIso), // inclusive
  to: Schema.optionalKey(InstantFromIso), // exclusive
  limit: Schema.optionalKey(limit(500)),
  cursor: Schema.optionalKey(Cursor),
  sort: Schema.optionalKey(Schema.Literals(["occurredAt", "-occurredAt"])) // the newest first unless told
})
export type AuditQuery = typeof AuditQuery.Type

export class AuditApi extends HttpApiGroup.make("audit")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: AuditQuery.fields,
      success: [page(AuditEntry, "AuditPage"), HttpApiSchema.StreamUint8Array({ contentType: "text/csv" })],
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "audit:read")
      .annotate(OpenApi.Summary, "Who changed what, and what threatened the platform, the newest first")
      .annotate(
        OpenApi.Description,
        "Every change of the configuration is written down in the transaction that makes it, with what was before and after " +
          "as far as it changed; secrets show as (secret). Entries are never changed and go with their time " +
          "(AUDIT_RETENTION_DAYS). Those who operate the platform also see what belongs to no organization. With Accept: " +
          "text/csv all that is found is answered, unless there is a limit, as lines under a header."
      )
  )
  .prefix("/api/v1/audit-log")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
