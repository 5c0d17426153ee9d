/**
 * The users of an organisation: accounts that are members of it, as it knows them.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { TenantId, Uuid } from "../ids.ts"
import { RequiredPermission, roles } from "../permissions.ts"
import { ifMatch } from "./devices.ts"
import { Conflict, Forbidden, InvalidRequest, NotFound, PreconditionFailed, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, label, page, pageQuery, text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

export const User = Schema.Struct({
  id: Uuid,
  organizationId: TenantId,
  email: Schema.String,
  name: Schema.String,
  role: Schema.Literals(roles),
  status: Schema.Literals(["invited", "active", "disabled"]), // invited: has not signed in to this organisation yet
  isExternal: Schema.Boolean, // signs in through the identity provider, which also gives the role
  lastLoginAt: Schema.NullOr(IsoInstant), // to this organisation
  createdAt: IsoInstant,
  updatedAt: IsoInstant,
  version: Schema.Int // for If-Match; also in the header etag
}).annotate({ identifier: "User" })
export type User = typeof User.Type

export const Email = text(320).check(Schema.isPattern(/^[^\s@]+@[^\s@]+$/, { message: "must be an e-mail address" }))
const TemporaryPassword = Schema.String.check(Schema.isMaxLength(1_000))

export const NewUser = Schema.Struct({
  email: Email,
  name: label(200),
  role: Schema.Literals(roles),
  password: Schema.optionalKey(TemporaryPassword) // made by the platform when absent
}).annotate({
  identifier: "NewUser",
  examples: [{ email: "eve@example.com", name: "Eve Engineer", role: "engineer" }]
})
export type NewUser = typeof NewUser.Type

export const CreatedUser = Schema.Struct({
  ...User.fields,
  temporaryPassword: Schema.NullOr(Schema.String) // shown this once; null when the request named one
}).annotate({ identifier: "CreatedUser" })
export type CreatedUser = typeof CreatedUser.Type

export const UserChange = Schema.Struct({
  name: Schema.optionalKey(label(200)),
  role: Schema.optionalKey(Schema.Literals(roles)),
  status: Schema.optionalKey(Schema.Literals(["active", "disabled"]))
}).annotate({ identifier: "UserChange", examples: [{ role: "technician" }] })
export type UserChange = typeof UserChange.Type

export const UserQuery = Schema.Struct({
  ...pageQuery, // `q`: part of name or e-mail
  role: Schema.optionalKey(Schema.Literals(roles))
})
export type UserQuery = typeof UserQuery.Type

const change = {
  params: idParams,
  headers: ifMatch,
  payload: UserChange,
  success: User,
  error: [Forbidden, NotFound, Conflict, PreconditionFailed, Unprocessable] as const
}

export class UsersApi extends HttpApiGroup.make("users")
  .add(
    HttpApiEndpoint.get("list", "/", {
      query: UserQuery.fields,
      success: page(User, "UserPage"),
      error: InvalidRequest
    })
      .annotate(RequiredPermission, "users:read")
      .annotate(OpenApi.Summary, "The organisation's users, page by page"),
    HttpApiEndpoint.post("create", "/", {
      payload: NewUser,
      success: CreatedUser.pipe(HttpApiSchema.status(201)),
      error: [Forbidden, Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "users:write")
      .annotate(OpenApi.Summary, "Add a user by e-mail, with a temporary password")
      .annotate(
        OpenApi.Description,
        "The answer is the same whether the address has an account already. Somebody new signs in with the temporary password and changes it; who has an account signs in as ever and joins by POST /auth/join with it."
      ),
    HttpApiEndpoint.get("get", "/:id", { params: idParams, success: User, error: NotFound })
      .annotate(RequiredPermission, "users:read")
      .annotate(OpenApi.Summary, "One user"),
    HttpApiEndpoint.patch("change", "/:id", change)
      .annotate(RequiredPermission, "users:write")
      .annotate(
        OpenApi.Summary,
        "Change name, role or status; it takes effect at once, also on sessions that are open"
      ),
    HttpApiEndpoint.put("replace", "/:id", change)
      .annotate(RequiredPermission, "users:write")
      .annotate(OpenApi.Summary, "The same as PATCH: what the body does not name stays"),
    HttpApiEndpoint.delete("remove", "/:id", {
      params: idParams,
      headers: ifMatch,
      success: HttpApiSchema.NoContent,
      error: [Forbidden, NotFound, Conflict, PreconditionFailed]
    })
      .annotate(RequiredPermission, "users:write")
      .annotate(OpenApi.Summary, "Take a user out of the organisation; its sessions here end"),
    HttpApiEndpoint.put("setPassword", "/:id/password", {
      params: idParams,
      payload: [
        Schema.Struct({ password: Schema.optionalKey(TemporaryPassword) }).annotate({ identifier: "NewPassword" }),
        Schema.Undefined // no body: the platform makes one
      ],
      success: Schema.Struct({ temporaryPassword: Schema.NullOr(Schema.String) }).annotate({
        identifier: "TemporaryPassword"
      }),
      error: [Forbidden, NotFound, Conflict, Unprocessable]
    })
      .annotate(RequiredPermission, "users:write")
      .annotate(OpenApi.Summary, "Set a temporary password, shown this once; the user's sessions end")
  )
  .prefix("/api/v1/users")
  .middleware(ReadableRequest)
  .middleware(Authorization) {}
