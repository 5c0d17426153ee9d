/**
 * The bytes of a request's body: bounded while they arrive and after inflation, and part of the budget until released.
 * @module
 */
import { BodyTooLarge, InvalidRequest } from "@argusiq/domain/http/problems.ts"
import { Effect, Semaphore, Stream } from "effect"
import { type HttpServerRequest } from "effect/http"
import { gunzip } from "node:zlib"
import { type ByteBudget } from "../ByteBudget.ts"

export const MAX_BODY_BYTES = 8 * 1_048_576
const ARRIVAL_TIMEOUT = "30 seconds"
/** Inflations at the same time: each may need the largest body's memory. */
const inflating = Semaphore.makeUnsafe(4)

const tooLarge = (maxBytes: number) =>
  new BodyTooLarge({
    detail: `A request holds at most ${maxBytes} bytes, after inflation. Send fewer messages at once, or smaller ones.`
  })

/** The body as the sender wrote it. What it occupies counts in the budget until the scope closes. */
export const readRequestBody = Effect.fnUntraced(function* (
  request: HttpServerRequest.HttpServerRequest,
  budget: ByteBudget,
  maxBytes = MAX_BODY_BYTES
) {
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) return yield* tooLarge(maxBytes)
  const encoding = request.headers["content-encoding"]?.toLowerCase() ?? "identity"
  if (encoding !== "identity" && encoding !== "gzip") {
    return yield* new InvalidRequest({
      errors: [{ path: "header.content-encoding", message: `must be gzip or absent, not ${encoding}` }]
    })
  }
  let taken = 0
  yield* Effect.addFinalizer(() => Effect.sync(() => budget.release(taken)))
  const take = (bytes: number) => {
    taken += bytes
    budget.take(bytes)
  }
  const chunks: Array<Uint8Array> = []
  yield* request.stream.pipe(
    Stream.runForEachArray((arrived) => {
      for (const chunk of arrived) {
        chunks.push(chunk)
        take(chunk.length)
      }
      return taken > maxBytes ? Effect.fail(tooLarge(maxBytes)) : Effect.void
    }),
    Effect.catchTag("HttpServerError", () => Effect.fail(new InvalidRequest({ detail: "The body broke off" }))),
    Effect.timeoutOrElse({
      duration: ARRIVAL_TIMEOUT,
      orElse: () => Effect.fail(new InvalidRequest({ detail: `The body did not arrive within ${ARRIVAL_TIMEOUT}` }))
    })
  )
  const body = Buffer.concat(chunks)
  if (encoding === "identity") return body
  const inflated = yield* inflating.withPermit(inflate(body, maxBytes))
  take(inflated.length)
  return inflated
})

const inflate = (body: Buffer, maxBytes: number) =>
  Effect.callback<Buffer, BodyTooLarge | InvalidRequest>((resume) => {
    gunzip(body, { maxOutputLength: maxBytes }, (error, inflated) => {
      if (error === null) return resume(Effect.succeed(inflated))
      resume(
        Effect.fail(
          "code" in error && error.code === "ERR_BUFFER_TOO_LARGE"
            ? tooLarge(maxBytes)
            : new InvalidRequest({ errors: [{ path: "", message: "The body is not gzip, or broken off" }] })
        )
      )
    })
  })
