/**
 * Signing in and staying signed in.
 * @module
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { TenantId, Uuid } from "../ids.ts"
import { permissions, RequiredPermission, roles } from "../permissions.ts"
import { Conflict, InvalidRequest, NotFound, TooManyRequests, Unauthenticated, Unprocessable } from "./problems.ts"
import { idParams, IsoInstant, page, shortPageQuery, text } from "./scalars.ts"
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
const RefreshToken = Schema.Struct({ refreshToken: Schema.String.check(Schema.isMaxLength(4_000)) }).annotate({
  identifier: "RefreshToken"
})
export const Me = Schema.Struct({
  userId: Schema.NullOr(Uuid),
  email: Schema.NullOr(Schema.String),
  name: Schema.String,
  organizationId: TenantId,
  role: Schema.Literals(roles),
  isPlatformAdmin: Schema.Boolean,
  mustChangePassword: Schema.Boolean, // PUT /auth/password is all that is allowed until then
  permissions: Schema.Array(Schema.Literals(permissions)),
  organizations: Schema.Array(
    Schema.Struct({ organizationId: TenantId, role: Schema.Literals(roles), isDefault: Schema.Boolean })
  ),
  invitations: Schema.Array(TenantId) // organizations to join by POST /auth/join
}).annotate({ identifier: "Me" })

const secret = Schema.String.check(Schema.isMaxLength(1_000))
const PasswordChange = Schema.Struct({ currentPassword: secret, newPassword: secret }).annotate({
  identifier: "PasswordChange",
  examples: [{ currentPassword: "the one given by an administrator", newPassword: "four words that nobody guesses" }]
})
const Join = Schema.Struct({ organizationId: TenantId, password: secret }).annotate({
  identifier: "Join",
  examples: [
    {
      organizationId: TenantId.make("01890a5d-ac96-774b-bcce-b302099a8057"),
      password: "the one given by the administrator of the organization"
    }
  ]
})
export const SessionInfo = Schema.Struct({
  id: Uuid,
  organizationId: TenantId,
  createdAt: IsoInstant,
  lastUsedAt: IsoInstant, // of its refresh token
  expiresAt: IsoInstant,
  address: Schema.NullOr(Schema.String),
  userAgent: Schema.NullOr(Schema.String),
  isCurrent: Schema.Boolean
}).annotate({ identifier: "SessionInfo" })
export type SessionInfo = typeof SessionInfo.Type

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
      .annotate(OpenApi.Summary, "A new session in another organisation that the user belongs to"),
    HttpApiEndpoint.post("join", "/join", {
      payload: Join,
      success: Session,
      error: [NotFound, TooManyRequests]
    })
      .middleware(Authorization)
      .annotate(RequiredPermission, "none")
      .annotate(OpenApi.Summary, "Accept an invitation with the password that its administrator gave; a session there"),
    HttpApiEndpoint.put("changePassword", "/password", {
      payload: PasswordChange,
      success: Session,
      error: [Conflict, Unprocessable, TooManyRequests]
    })
      .middleware(Authorization)
      .annotate(RequiredPermission, "none")
      .annotate(OpenApi.Summary, "Change the own password; ends all sessions and answers with a new one"),
    HttpApiEndpoint.get("sessions", "/sessions", {
      query: shortPageQuery,
      success: page(SessionInfo, "SessionPage"),
      error: InvalidRequest
    })
      .middleware(Authorization)
      .annotate(RequiredPermission, "none")
      .annotate(OpenApi.Summary, "The own sessions that have not ended, the last used first"),
    HttpApiEndpoint.delete("endSession", "/sessions/:id", {
      params: idParams,
      success: HttpApiSchema.NoContent,
      error: NotFound
    })
      .middleware(Authorization)
      .annotate(RequiredPermission, "none")
      .annotate(OpenApi.Summary, "End one of the own sessions; its access token is refused at once")
  )
  .prefix("/api/v1/auth")
  .middleware(ReadableRequest)
  .annotate(OpenApi.Description, "Sign in, refresh, sign out") {}
