/**
 * The body of a broker's webhook: one thing or an array of them, read under the bridge's limits.
 * @module
 */
import { faultPath } from "@argusiq/domain/http/fault-path.ts"
import { MAX_MESSAGES_PER_REQUEST } from "@argusiq/domain/http/ingest.ts"
import { InvalidRequest } from "@argusiq/domain/http/problems.ts"
import { decodeJson, structureLimits } from "@argusiq/domain/scan.ts"
import { Effect, Result, Schema, SchemaIssue } from "effect"
import { type HttpServerRequest } from "effect/http"
import { type ByteBudget } from "../ByteBudget.ts"
import { readRequestBody } from "../http/request-body.ts"

/** The largest payload that is accepted, in base64, and its fellows. */
const MAX_BODY_BYTES = 16 * 1_048_576
/** Faults named in one answer. */
const MAX_FAULTS = 20
/** Brokers send more fields than are read here. */
const limits = { depth: structureLimits.depth, keys: structureLimits.keys * 10 }

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

export interface WebhookBody<A> {
  readonly isArray: boolean
  readonly items: ReadonlyArray<A>
}

/** Reads bodies that hold one or up to 1,000 of what the schema describes: all of it or nothing. */
export const webhookBody = <A>(item: Schema.Decoder<A>) => {
  const decode = Schema.decodeUnknownResult(Schema.Array(item), { errors: "all" })
  return Effect.fnUntraced(function* (request: HttpServerRequest.HttpServerRequest, budget: ByteBudget) {
    const json = decodeJson(yield* readRequestBody(request, budget, MAX_BODY_BYTES), limits)
    if (Result.isFailure(json)) {
      return yield* new InvalidRequest({ errors: [{ path: "", message: json.failure.message }] })
    }
    const isArray = Array.isArray(json.success)
    const values: ReadonlyArray<unknown> = Array.isArray(json.success) ? json.success : [json.success]
    if (values.length === 0 || values.length > MAX_MESSAGES_PER_REQUEST) {
      const message = `must hold 1 to ${MAX_MESSAGES_PER_REQUEST} items, not ${values.length}`
      return yield* new InvalidRequest({ errors: [{ path: "", message }] })
    }
    const decoded = decode(values)
    if (Result.isSuccess(decoded)) return { isArray, items: decoded.success } satisfies WebhookBody<A>
    const { issues } = formatIssues(decoded.failure.issue)
    return yield* new InvalidRequest({
      errors: issues
        .slice(0, MAX_FAULTS)
        .map(({ message, path = [] }) => ({ path: faultPath(isArray ? path : path.slice(1)), message }))
    })
  })
}
