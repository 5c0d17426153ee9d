/**
 * Bodies that are read while they arrive, bounded in size and in time.
 * @module
 */
import { BodyTooLarge, InvalidRequest } from "@argusiq/domain/http/problems.ts"
import { type Duration, Effect, Stream } from "effect"
import { type HttpServerRequest } from "effect/http"

export const tooLarge = (most: number) => new BodyTooLarge({ detail: `The body may have at most ${most} bytes.` })

/** How long a body may take to arrive: a client that sends it drop by drop does not hold its connection for longer. */
export const inTime =
  (duration: Duration.Input) =>
  <A, E, R>(reading: Effect.Effect<A, E, R>) =>
    Effect.timeoutOrElse(reading, {
      duration,
      orElse: () => Effect.fail(new InvalidRequest({ detail: "The body did not arrive in time." }))
    })

const brokeOff = () => new InvalidRequest({ detail: "The body broke off." })

/** The text of the body, piece by piece, each handed over before the next is read. */
export const readPieces = <E>(
  request: HttpServerRequest.HttpServerRequest,
  mostBytes: number,
  take: (piece: string) => Effect.Effect<void, E>
) =>
  Effect.gen(function* () {
    const decoder = new TextDecoder("utf-8", { fatal: true }) // skips a byte order mark
    const decode = (bytes?: Uint8Array) =>
      Effect.try({
        try: () => (bytes === undefined ? decoder.decode() : decoder.decode(bytes, { stream: true })),
        catch: () => new InvalidRequest({ detail: "The body is no UTF-8 text." })
      })
    let read = 0
    yield* Stream.runForEach(Stream.mapError(request.stream, brokeOff), (bytes) =>
      Effect.gen(function* () {
        read += bytes.length
        if (read > mostBytes) return yield* tooLarge(mostBytes)
        yield* take(yield* decode(bytes))
      })
    ).pipe(inTime("2 minutes"))
    yield* take(yield* decode())
  })
