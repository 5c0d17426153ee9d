import * as logging from "@argusiq/platform/logging.ts"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Logger, Redacted } from "effect"

/** What the effect logs as JSON, line by line. */
const linesOf = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.gen(function* () {
    const lines: Array<Record<string, unknown>> = []
    const collecting = Logger.map(logging.jsonLine, (line) => void lines.push(JSON.parse(line)))
    yield* Effect.provide(effect, Logger.layer([logging.withoutRepetitions(collecting)]))
    return lines
  })

describe("the log as JSON", () => {
  it.effect("has one object a line, with the service and what it is about beside the message", () =>
    Effect.gen(function* () {
      const [line, other] = yield* linesOf(
        Effect.gen(function* () {
          yield* Effect.logWarning("slow").pipe(Effect.annotateLogs({ service: "api", requestId: "r-1", userId: "u" }))
          yield* Effect.logInfo("two", { things: 1 })
        })
      )
      const { timestamp, ...rest } = line!
      assert.isFalse(Number.isNaN(Date.parse(String(timestamp))))
      assert.deepStrictEqual(rest, { level: "WARN", service: "api", requestId: "r-1", userId: "u", message: "slow" })
      assert.deepInclude(other, { service: "platform", message: ["two", { things: 1 }] })
    })
  )

  it.effect("holds no secret that is kept as one", () =>
    Effect.gen(function* () {
      const secret = Redacted.make("correct horse")
      const lines = yield* linesOf(
        Effect.logError("refused", { password: secret }, secret).pipe(Effect.annotateLogs({ secret }))
      )
      assert.notInclude(JSON.stringify(lines), "correct horse")
      assert.include(JSON.stringify(lines), "redacted")
    })
  )
})

describe("a warning that repeats itself", () => {
  it.effect("is said once, while others and what is no warning go through", () =>
    Effect.gen(function* () {
      const lines = yield* linesOf(
        Effect.gen(function* () {
          for (let time = 0; time < 100; time++) {
            yield* Effect.logWarning("The bus is away")
            yield* Effect.logInfo("a line")
          }
          yield* Effect.logWarning("The bus is away").pipe(Effect.annotateLogs("service", "jobs"))
          yield* Effect.logError("The bus is away")
        })
      )
      const said = (level: string) => lines.filter((line) => line["level"] === level).length
      assert.deepStrictEqual([said("WARN"), said("INFO"), said("ERROR")], [2, 100, 1])
    })
  )

  it("is said again after a minute, with how often it was left out; memory stays bounded", () => {
    const repetitions = new logging.Repetitions()
    assert.strictEqual(repetitions.note("a", 0), 0)
    assert.strictEqual(repetitions.note("a", 30_000), undefined)
    assert.strictEqual(repetitions.note("a", 59_999), undefined)
    assert.strictEqual(repetitions.note("a", 60_000), 2)
    for (let other = 0; other < 5_000; other++) repetitions.note(`other ${other}`, 60_001)
    assert.strictEqual(repetitions.note("a", 60_002), 0)
  })
})
