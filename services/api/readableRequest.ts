/**
 * Reads a request before its handler does: a body of at most 1 MiB and 64 levels, or a file of the size that its endpoint
 * allows, and the path of every fault in it.
 * @module
 */
import { faultPath } from "@argusiq/domain/http/fault-path.ts"
import { type Fault, InternalFault, InvalidRequest, UnsupportedMediaType } from "@argusiq/domain/http/problems.ts"
import { LargestBody, ReadableRequest, StreamedBody } from "@argusiq/domain/http/security.ts"
import { checkStructure } from "@argusiq/domain/scan.ts"
import { ByteSize, Context, Effect, Layer, Option, SchemaIssue, type Types } from "effect"
import { HttpIncomingMessage, HttpMethod, HttpServerRequest } from "effect/http"
import { type HttpApiEndpoint, HttpApiError } from "effect/http-api"
import { inTime, tooLarge } from "./streamedBody.ts"

const mostBytes = 1_048_576

/** A body in JSON arrives at once, a file may take its time. */
const arrival = { json: "30 seconds", file: "2 minutes" } as const

const structureFaults = {
  PayloadTooDeep: new InvalidRequest({ detail: "The body is nested more than 64 levels deep." }),
  TooManyMetrics: new InvalidRequest({ detail: "The body has more than 10000 keys." })
}

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

/** A fault in the body is named by its path in it; elsewhere the path begins with query, params or headers. */
const faultsOf = (error: HttpApiError.HttpApiSchemaError): ReadonlyArray<Fault> =>
  formatIssues(error.cause.issue).issues.map(({ message, path = [] }) => ({
    path: faultPath(error.kind === "Payload" ? path : [error.kind.toLowerCase(), ...path]),
    message
  }))

/** Read here, under the limit, and kept by the request: the handler decodes the same body. */
const checkBody = Effect.fnUntraced(function* ({ annotations }: HttpApiEndpoint.Top) {
  const request = yield* HttpServerRequest.HttpServerRequest
  if (!HttpMethod.hasBody(request.method)) return
  const encoding = request.headers["content-encoding"]?.trim().toLowerCase() ?? "identity"
  if (encoding !== "identity") {
    return yield* new UnsupportedMediaType({ detail: "The body must not be compressed: leave Content-Encoding out." })
  }
  const largest = Option.getOrUndefined(Context.getOption(annotations, LargestBody))
  const streamed = Option.getOrUndefined(Context.getOption(annotations, StreamedBody))
  const most = streamed ?? largest ?? mostBytes
  if (Number(request.headers["content-length"] ?? 0) > most) return yield* tooLarge(most)
  if (streamed !== undefined) return
  const body: Effect.Effect<unknown, unknown> = largest === undefined ? request.text : request.arrayBuffer
  const read = yield* body.pipe(
    Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(most)),
    Effect.mapError(() => tooLarge(most)),
    inTime(largest === undefined ? arrival.json : arrival.file)
  )
  if (typeof read !== "string") return
  const excess = checkStructure(new TextEncoder().encode(read))
  if (excess !== undefined) return yield* structureFaults[excess]
})

export const readableRequest = Layer.succeed(
  ReadableRequest,
  ReadableRequest.of((handled, { endpoint }) =>
    Effect.andThen(
      checkBody(endpoint),
      Effect.catch(handled, (error): Effect.Effect<never, Types.unhandled | InternalFault | InvalidRequest> => {
        if (!HttpApiError.HttpApiSchemaError.is(error)) return Effect.fail(error)
        if (error.kind === "Body" || error.kind === "ResponseHeaders") {
          return Effect.andThen(
            Effect.logError("An answer does not have the shape that its contract promises", error.cause),
            Effect.fail(new InternalFault({}))
          )
        }
        return Effect.fail(new InvalidRequest({ errors: faultsOf(error) }))
      })
    )
  )
)
