/**
 * Signing in and staying signed in.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { TenantId, Uuid } from "../ids.ts"
import { permissions, RequiredPermission, roles } from "../permissions.ts"
import { NotFound, TooManyRequests, Unauthenticated } from "./problems.ts"
import { text } from "./scalars.ts"
import { Authorization, ReadableRequest } from "./security.ts"

export const Login = Schema.Struct({
  email: text(320),
  password: Schema.String.check(Schema.isMaxLength(1_000)),
  organizationId: Schema.optionalKey(TenantId) // the default membership when absent
}).annotate({
  identifier: "Login",
  examples: [{ email: "admin@localhost", password: "the password printed at the first start" }]
})
export const Session = Schema.Struct({
  accessToken: Schema.String,
  refreshToken: Schema.String, // usable once; its second use ends the session
  expiresIn: Schema.Int // seconds until the access token ends
}).annotate({ identifier: "Session" })
export type Session = typeof Session.Type
const RefreshToken = Schema.Struct({ refreshToken: Schema.String.check(Schema.isMaxLength(200)) }).annotate({
  identifier: "RefreshToken"
})
export const Me = Schema.Struct({
  userId: Schema.NullOr(Uuid),
  email: Schema.NullOr(Schema.String),
  name: Schema.String,
  organizationId: TenantId,
  role: Schema.Literals(roles),
  isPlatformAdmin: Schema.Boolean,
  permissions: Schema.Array(Schema.Literals(permissions)),
  organizations: Schema.Array(
    Schema.Struct({ organizationId: TenantId, role: Schema.Literals(roles), isDefault: Schema.Boolean })
  )
}).annotate({ identifier: "Me" })

export class AuthApi extends HttpApiGroup.make("auth")
  .add(
    HttpApiEndpoint.post("login", "/login", {
      payload: Login,
      success: Session,
      error: [Unauthenticated, TooManyRequests]
    }).annotate(OpenApi.Summary, "Sign in with e-mail and password"),
    HttpApiEndpoint.post("refresh", "/refresh", {
      payload: RefreshToken,
      success: Session,
      error: Unauthenticated
    }).annotate(OpenApi.Summary, "Exchange a refresh token for a new pair; each works once"),
    HttpApiEndpoint.post("logout", "/logout", { payload: RefreshToken, success: HttpApiSchema.NoContent }).annotate(
      OpenApi.Summary,
      "End the session that a refresh token belongs to"
    ),
    HttpApiEndpoint.get("me", "/me", { success: Me })
      .middleware(Authorization)
      .annotate(RequiredPermission, "none")
      .annotate(OpenApi.Summary, "Who is signed in, where, and with which permissions"),
    HttpApiEndpoint.post("switch", "/switch", {
      payload: Schema.Struct({ organizationId: TenantId }).annotate({ identifier: "SwitchOrganization" }),
      success: Session,
      error: NotFound
    })
      .middleware(Authorization)
      .annotate(RequiredPermission, "none")
      .annotate(OpenApi.Summary, "A new session in another organisation that the user belongs to")
  )
  .prefix("/api/v1/auth")
  .middleware(ReadableRequest)
  .annotate(OpenApi.Description, "Sign in, refresh, sign out") {}
