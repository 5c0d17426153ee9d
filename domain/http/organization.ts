/**
 * The organisation that the caller acts in, and all of them for who operates the platform.
 * @module
 */
import { Schema, Struct } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { TenantId } from "../ids.ts"
import { RequiredPermission } from "../permissions.ts"
import { ifMatch } from "./devices.ts"
import { Conflict, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, label, page, pageQuery, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"
import { CreatedUser, NewUser } from "./users.ts"

const statuses = ["active", "suspended"] as const

export const Organization = Schema.Struct({
  id: TenantId,
  name: Schema.String,
  slug: Schema.String,
  status: Schema.Literals(statuses),
  settings: Schema.JsonObject,
  createdAt: IsoInstant,
  updatedAt: IsoInstant,
  version: Schema.Int // for If-Match; also in the header etag
}).annotate({ identifier: "Organization" })
export type Organization = typeof Organization.Type

const attributes = {
  name: label(200),
  settings: Schema.JsonObject // replaced as a whole
}
export const OwnOrganizationChange = Schema.Struct(Struct.map(attributes, Schema.optionalKey)).annotate({
  identifier: "OwnOrganizationChange",
  examples: [{ name: "Acme" }]
})
export type OwnOrganizationChange = typeof OwnOrganizationChange.Type
export const OrganizationChange = Schema.Struct({
  ...OwnOrganizationChange.fields,
  status: Schema.optionalKey(Schema.Literals(statuses)) // suspended: nobody signs in, all its sessions end
}).annotate({ identifier: "OrganizationChange", examples: [{ status: "suspended" }] })
export type OrganizationChange = typeof OrganizationChange.Type

export const NewOrganization = Schema.Struct({
  name: attributes.name,
  slug: Schema.optionalKey(
    text(63).check(
      Schema.isPattern(/^[a-z0-9]+(-[a-z0-9]+)*$/, { message: "must be lower-case letters, digits and single hyphens" })
    )
  ), // made of the name when absent
  settings: Schema.optionalKey(attributes.settings),
  admin: Schema.Struct(Struct.omit(NewUser.fields, ["role"])) // its first administrator
}).annotate({
  identifier: "NewOrganization",
  examples: [{ name: "Acme", slug: "acme", admin: { email: "ada@example.com", name: "Ada Admin" } }]
})
export type NewOrganization = typeof NewOrganization.Type
export const CreatedOrganization = Schema.Struct({ ...Organization.fields, admin: CreatedUser }).annotate({
  identifier: "CreatedOrganization"
})
export type CreatedOrganization = typeof CreatedOrganization.Type

export const OrganizationQuery = Schema.Struct({
  ...pageQuery, // `q`: part of name or slug
  status: Schema.optionalKey(Schema.Literals(statuses))
})
export type OrganizationQuery = typeof OrganizationQuery.Type

const refusals = [NotFound, Conflict, PreconditionFailed, Unprocessable] as const

export class OrganizationApi extends HttpApiGroup.make("organization")
  .add(
    HttpApiEndpoint.get("get", "/api/v1/organization", { success: Organization, error: NotFound })
      .annotate(RequiredPermission, "organization:read")
      .annotate(OpenApi.Summary, "The organisation of the caller"),
    HttpApiEndpoint.patch("change", "/api/v1/organization", {
      headers: ifMatch,
      payload: OwnOrganizationChange,
      success: Organization,
      error: refusals
    })
      .annotate(RequiredPermission, "organization:write")
      .annotate(OpenApi.Summary, "Change name or settings of the organisation of the caller")
  )
  .middleware(ReadableRequest)
  .middleware(Authorization) {}

const change = {
  params: idParams,
  headers: ifMatch,
  payload: OrganizationChange,
  success: Organization,
  error: refusals
}

export class OrganizationsApi extends HttpApiGroup.make("organizations")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: OrganizationQuery.fields,
      success: page(Organization, "OrganizationPage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "organizations:operate")
      .annotate(OpenApi.Summary, "All organisations, page by page"),
    HttpApiEndpoint.post("create", "/", {
      payload: NewOrganization,
      success: CreatedOrganization.pipe(HttpApiSchema.status(201)),
      error: [Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "organizations:operate")
      .annotate(OpenApi.Summary, "Add an organisation with its first administrator"),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: Organization, error: NotFound })
      .annotate(RequiredPermission, "organizations:operate")
      .annotate(OpenApi.Summary, "One organisation"),
    HttpApiEndpoint.patch("change", "/:id", change)
      .annotate(RequiredPermission, "organizations:operate")
      .annotate(OpenApi.Summary, "Change name, settings or status; a suspended organisation's sessions end at once"),
    HttpApiEndpoint.put("replace", "/:id", change)
      .annotate(RequiredPermission, "organizations:operate")
      .annotate(OpenApi.Summary, "The same as PATCH: what the body does not name stays")
  )
  .prefix("/api/v1/organizations")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
