/**
 * Reads a request before its handler does: a body of at most 1 MiB and 64 levels, and the path of every fault in it.
 * @module
 */
import { faultPath } from "@argusiq/domain/http/fault-path.ts"
import { BodyTooLarge, type Fault, InternalFault, InvalidRequest } from "@argusiq/domain/http/problems.ts"
import { ReadableRequest } from "@argusiq/domain/http/security.ts"
import { checkStructure } from "@argusiq/domain/scan.ts"
import { ByteSize, Effect, Layer, SchemaIssue, type Types } from "effect"
import { HttpIncomingMessage, HttpMethod, HttpServerRequest } from "effect/http"
import { HttpApiError } from "effect/http-api"

const mostBytes = 1_048_576

const tooLarge = new BodyTooLarge({ detail: `The body may have at most ${mostBytes} bytes.` })
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

/** Read here, under the limit, and kept by the request: the handler decodes the same text. */
const checkBody = Effect.gen(function* () {
  const request = yield* HttpServerRequest.HttpServerRequest
  if (!HttpMethod.hasBody(request.method)) return
  if (Number(request.headers["content-length"] ?? 0) > mostBytes) return yield* tooLarge
  const text = yield* request.text.pipe(
    Effect.provideService(HttpIncomingMessage.MaxBodySize, ByteSize.bytes(mostBytes)),
    Effect.mapError(() => tooLarge)
  )
  const excess = checkStructure(new TextEncoder().encode(text))
  if (excess !== undefined) return yield* structureFaults[excess]
})

export const readableRequest = Layer.succeed(
  ReadableRequest,
  ReadableRequest.of((handled) =>
    Effect.andThen(
      checkBody,
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
