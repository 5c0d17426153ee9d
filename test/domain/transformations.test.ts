import { makeMemo } from "@argusiq/domain/expression/memo.ts"
import { normalizeEndpoint } from "@argusiq/domain/normalize.ts"
import { DeviceTypeConfig } from "@argusiq/domain/device-type.ts"
import { publicationFaults } from "@argusiq/domain/device-type-trial.ts"
import { ExpressionTimeout, type Evaluated } from "@argusiq/domain/expression/expression.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result, Schema } from "effect"
import {
  bytes,
  compiled,
  deviceId,
  deviceTypeId,
  messageId,
  poison,
  reading,
  receivedAt,
  tenantId
} from "./compiled.ts"

const expression = (metricKey: string, source: string, unit?: string) => ({
  kind: "expression",
  metricKey,
  expression: source,
  ...(unit !== undefined && { unit })
})
const rules = (...transformationRules: ReadonlyArray<object>) => ({
  extractionRules: {
    u: { path: "$.u", type: "numeric", unit: "V", max: 400 },
    i: { path: "$.i", type: "numeric", unit: "A" },
    s: { path: "$.s", type: "text" }
  },
  transformationRules
})

describe("an expression rule", () => {
  it("makes a metric of the others, in the order of the rules", () => {
    const config = rules(
      expression("p", "u * i", "W"),
      { kind: "unit", metricKey: "p", to: "kW" },
      expression("d", "p * 2")
    )
    assert.deepStrictEqual(reading({ u: 200, i: 5 }, config).metrics, { u: 200, i: 5, p: 1, d: 2 })
    assert.deepInclude([...compiled(config).units], ["p", "kW"])
  })

  it("takes the place of a metric that is there", () => {
    assert.deepStrictEqual(reading({ u: 200.04, i: 1 }, rules(expression("u", "$round(u, 1)"))).metrics, {
      u: 200,
      i: 1
    })
  })

  it("that gives nothing, or null, gives no metric, and takes one away that is there", () => {
    const { metrics, skipped } = reading({ u: 1 }, rules(expression("p", "u * i"), expression("u", "null")))
    assert.deepStrictEqual(metrics, {})
    assert.strictEqual(skipped, 4) // i, s, p and u
  })

  it("gives text, truth and JSON too", () => {
    const config = rules(expression("t", "s & '!'"), expression("b", "u > 1"), expression("l", "[u, i]"))
    assert.deepInclude(reading({ u: 2, i: 3, s: "x" }, config).metrics, { t: "x!", b: true, l: [2, 3] })
  })

  it("passes the worst quality of what it reads on", () => {
    const { quality } = reading({ u: 500, i: 3 }, rules(expression("p", "u * i"), expression("j", "i + 1")))
    assert.deepStrictEqual(quality, { u: "bad", p: "bad" })
  })

  it("that fails is poison for the message, with its path and the reason", () => {
    const { message, path, reason } = poison({ u: 1, s: "x" }, rules(expression("u", "u"), expression("p", "u * s")))
    assert.strictEqual(reason, "ExpressionFailed")
    assert.strictEqual(path, "$.transformationRules[1].expression")
    assert.include(
      message,
      'The expression for the metric "p" failed: The right side of * is the text "x", not a number.'
    )
  })

  it("that needs the sandbox is asked of it, and known when the message is normalised again", () => {
    const memo = makeMemo()
    const input = {
      compiled: compiled(rules(expression("t", "$join([s, 'y'])"), expression("k", "t & '!'"))),
      typeVersion: 1,
      deviceTypeId,
      messageId,
      tenantId,
      deviceId,
      receivedAt,
      contentType: "application/json",
      payload: bytes({ u: 1, s: "x" }),
      evaluate: memo.evaluate
    }
    normalizeEndpoint(input)
    const misses = memo.takeMisses()
    assert.deepStrictEqual(
      misses.map((miss) => [miss.expression.source, miss.input]),
      [["$join([s, 'y'])", { s: "x" }]]
    )
    memo.learn(misses, [Result.succeed("xy")])
    const { message } = Result.getOrThrow(normalizeEndpoint(input))
    assert.deepStrictEqual(memo.takeMisses(), [])
    assert.deepStrictEqual(message.readings[0]?.metrics, { u: 1, s: "x", t: "xy", k: "xy!" })

    const slow: Evaluated = Result.fail(new ExpressionTimeout({ expression: "", limitMillis: 50 }))
    const { message: why, reason } = Result.getOrThrow(
      Result.flip(normalizeEndpoint({ ...input, evaluate: () => slow }))
    )
    assert.strictEqual(reason, "ExpressionTimeout")
    assert.include(why, "more than 50 ms")
  })

  it("is checked by test vectors before a type is published", () => {
    const config = (expected: number) =>
      Schema.decodeUnknownSync(DeviceTypeConfig)({
        ...rules(expression("p", "u * i")),
        processingMode: "endpoint",
        testVectors: [{ name: "v", payload: { u: 2, i: 3 }, expected: [{ u: 2, i: 3, p: expected }] }]
      })
    assert.deepStrictEqual(publicationFaults(config(6), receivedAt), [])
    assert.lengthOf(publicationFaults(config(7), receivedAt), 1)
  })
})
