/**
 * What stands before every route: the caller is known, is allowed to, and has sent a request that can be read.
 * @module
 */
import { Context } from "effect"
import { HttpApiMiddleware, HttpApiSecurity, OpenApi } from "effect/http-api"
import { type TenantId } from "../ids.ts"
import { type Authority } from "../permissions.ts"
import {
  BodyTooLarge,
  Forbidden,
  InternalFault,
  InvalidRequest,
  Unauthenticated,
  Unavailable,
  UnsupportedMediaType
} from "./problems.ts"

/** The caller: a signed-in user, or the command line with the installation's own token. */
export interface Caller extends Authority {
  readonly kind: "user" | "command-line"
  /** Absent for the command line, which acts for nobody in particular. */
  readonly userId: string | undefined
  readonly tenantId: TenantId
  /** Absent for the command line and for whom an identity provider vouches: they have no session here. */
  readonly sessionId?: string
  /** Somebody else knows the password: until it is changed, nothing else is allowed. */
  readonly mustChangePassword?: boolean
}
export class Principal extends Context.Service<Principal, Caller>()("argusiq/domain/http/Principal") {}

/** `Authorization: Bearer` with an access token, or with the command line's token. */
export class Authorization extends HttpApiMiddleware.Service<Authorization, { provides: Principal }>()(
  "argusiq/domain/http/Authorization",
  {
    requiredForClient: true,
    security: {
      bearer: HttpApiSecurity.bearer.pipe(
        HttpApiSecurity.annotate(
          OpenApi.Description,
          "The accessToken from POST /api/v1/auth/login, or a token of the identity provider (OIDC_ISSUER)"
        )
      )
    },
    error: [Unauthenticated, Forbidden, Unavailable]
  }
) {}

/** Annotation of an endpoint whose body is a file: its most bytes. It is no JSON and is not looked into. */
export class LargestBody extends Context.Service<LargestBody, number>()("argusiq/domain/http/LargestBody") {}

/** Bounds the body in bytes and depth, and answers what cannot be decoded with the path of each fault. */
export class ReadableRequest extends HttpApiMiddleware.Service<ReadableRequest>()(
  "argusiq/domain/http/ReadableRequest",
  { error: [InvalidRequest, BodyTooLarge, UnsupportedMediaType, InternalFault, Unavailable] }
) {}

/** Annotation of an endpoint that reads its body itself, piece by piece: its most bytes. */
export class StreamedBody extends Context.Service<StreamedBody, number>()("argusiq/domain/http/StreamedBody") {}
