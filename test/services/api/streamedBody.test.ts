import { readPieces } from "@argusiq/api/streamedBody.ts"
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { type HttpServerRequest } from "effect/http"
import { TestClock } from "effect/testing"

const requestOf = (stream: Stream.Stream<Uint8Array>) => ({ stream }) as unknown as HttpServerRequest.HttpServerRequest
const read = (stream: Stream.Stream<Uint8Array>, most = 100) => {
  const pieces: Array<string> = []
  return Effect.map(
    Effect.result(readPieces(requestOf(stream), most, (piece) => Effect.sync(() => pieces.push(piece)))),
    (result) => ({ result, text: pieces.join("") })
  )
}

it.effect("a character that is cut between two pieces of a body is one character", () =>
  Effect.gen(function* () {
    const bytes = new TextEncoder().encode("\uFEFFä\u{1f600}z")
    const { text } = yield* read(Stream.fromIterable(Array.from(bytes, (byte) => Uint8Array.of(byte))))
    assert.strictEqual(text, "ä\u{1f600}z")
  })
)

it.effect("a body is refused as soon as it exceeds its size, however long it goes on", () =>
  Effect.gen(function* () {
    const { result, text } = yield* read(Stream.forever(Stream.succeed(new Uint8Array(30).fill(97))))
    assert.deepInclude(result, { _tag: "Failure" })
    assert.strictEqual(text.length, 90)
  })
)

it.effect("a body that stops in the middle is given up after two minutes", () =>
  Effect.gen(function* () {
    const fiber = yield* Effect.forkChild(read(Stream.concat(Stream.succeed(Uint8Array.of(97)), Stream.never)))
    yield* TestClock.adjust("119 seconds")
    assert.isUndefined(fiber.pollUnsafe())
    yield* TestClock.adjust("2 seconds")
    const { result } = yield* Fiber.join(fiber)
    assert.isTrue(result._tag === "Failure" && result.failure._tag === "InvalidRequest")
  })
)

it.effect("bytes that are no UTF-8 are refused, also at the very end", () =>
  Effect.gen(function* () {
    for (const bytes of [[0xff], [97, 0xc3]]) {
      const { result } = yield* read(Stream.succeed(Uint8Array.from(bytes)))
      assert.strictEqual(result._tag, "Failure")
    }
  })
)
