/**
 * What a refused request is answered with: RFC 9457 problem details, one class per kind of refusal.
 * @module
 */
import { Schema } from "effect"
import { HttpApiError } from "effect/http-api"

/** One fault of a request. `path` leads to the value: "name", "config.extractionRules.temp.path", "query.limit". */
export const Fault = Schema.Struct({ path: Schema.String, message: Schema.String }).annotate({ identifier: "Fault" })
export type Fault = typeof Fault.Type

const members = {
  errors: Schema.optionalKey(Schema.Array(Fault)),
  requestId: Schema.optionalKey(Schema.String) // also in the header x-request-id and in the platform's log
}
const declare = <const Status extends number, const Name extends string>(
  status: Status,
  name: Name,
  title: string
) => ({
  type: `urn:argusiq:problem:${name}` as const,
  status,
  title
})

export class InvalidRequest extends HttpApiError.Problem<InvalidRequest>()(
  "InvalidRequest",
  declare(400, "invalid-request", "The request is not valid"),
  members
) {}
export class Unauthenticated extends HttpApiError.Problem<Unauthenticated>()(
  "Unauthenticated",
  declare(401, "unauthenticated", "Sign in first"),
  members
) {}
export class Forbidden extends HttpApiError.Problem<Forbidden>()(
  "Forbidden",
  declare(403, "forbidden", "Not allowed"),
  members
) {}
export class NotFound extends HttpApiError.Problem<NotFound>()(
  "NotFound",
  declare(404, "not-found", "Not found"),
  members
) {}
export class Conflict extends HttpApiError.Problem<Conflict>()(
  "Conflict",
  declare(409, "conflict", "In conflict with what exists"),
  members
) {}
export class PreconditionFailed extends HttpApiError.Problem<PreconditionFailed>()(
  "PreconditionFailed",
  declare(412, "precondition-failed", "Changed by somebody else"),
  members
) {}
export class BodyTooLarge extends HttpApiError.Problem<BodyTooLarge>()(
  "BodyTooLarge",
  declare(413, "body-too-large", "The request body is too large"),
  members
) {}
export class UnsupportedMediaType extends HttpApiError.Problem<UnsupportedMediaType>()(
  "UnsupportedMediaType",
  declare(415, "unsupported-media-type", "The content type is not supported here"),
  members
) {}
export class Unprocessable extends HttpApiError.Problem<Unprocessable>()(
  "Unprocessable",
  declare(422, "unprocessable", "The request cannot be carried out"),
  members
) {}
export class TooManyRequests extends HttpApiError.Problem<TooManyRequests>()(
  "TooManyRequests",
  declare(429, "too-many-requests", "Too many requests"),
  members
) {}
export class InternalFault extends HttpApiError.Problem<InternalFault>()(
  "InternalFault",
  declare(500, "internal", "The platform failed"),
  members
) {}
export class Unavailable extends HttpApiError.Problem<Unavailable>()(
  "Unavailable",
  declare(503, "unavailable", "Not available at the moment"),
  members
) {}
