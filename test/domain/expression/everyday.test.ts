import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import { type Evaluated, type ParsedExpression } from "@argusiq/domain/expression/expression.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import jsonata from "jsonata"
import { makeGenerator } from "./generated.ts"

const parsed = (source: string): ParsedExpression =>
  Result.match(parseExpression(source), {
    onSuccess: (expression) => expression,
    onFailure: ({ message, position }) => assert.fail(`${source} at ${position}: ${message}`)
  })

/** A value as JSON, `nothing`, or `failure`. */
const outcomeOf = (evaluated: Evaluated): string =>
  Result.isFailure(evaluated) ? "failure" : (JSON.stringify(evaluated.success) ?? "nothing")

const isFinite = (value: unknown): boolean =>
  typeof value === "number" ? Number.isFinite(value) : !Array.isArray(value) || value.every(isFinite)

/** What jsonata makes of it; a result that is no JSON is a failure here. */
const libraryOutcome = async (source: string, input: unknown): Promise<string> => {
  try {
    const value: unknown = await jsonata(source).evaluate(input)
    return isFinite(value) ? (JSON.stringify(value) ?? "nothing") : "failure"
  } catch {
    return "failure"
  }
}

const run = (source: string, input: Readonly<Record<string, unknown>>): Evaluated => {
  const expression = parsed(source)
  return expression.run === undefined ? assert.fail(`${source} is not compiled`) : expression.run(input)
}

const CASES = 6_000

describe("an everyday expression", () => {
  it("gives what jsonata gives, for generated expressions and inputs", async () => {
    const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000_000)
    const { expression, input } = makeGenerator(seed)
    const outcomes = { value: 0, nothing: 0, failure: 0 }
    for (let index = 0; index < CASES; index++) {
      const source = expression()
      const given = input()
      const expected = await libraryOutcome(source, given)
      const what = `seed ${seed}, case ${index}: ${source} on ${JSON.stringify(given)}`
      assert.strictEqual(outcomeOf(run(source, given)), expected, what)
      outcomes[expected === "nothing" || expected === "failure" ? expected : "value"]++
    }
    // a generator whose expressions all fail would prove nothing
    for (const [kind, count] of Object.entries(outcomes)) assert.isAbove(count, CASES / 20, `seed ${seed}: ${kind}`)
  }, 30_000)

  it("reads nothing but what it says it reads", () => {
    const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000_000)
    const { expression, input } = makeGenerator(seed)
    for (let index = 0; index < CASES; index++) {
      const source = expression()
      const given = input()
      const { reads } = parsed(source)
      if (reads === undefined) continue
      const kept = Object.fromEntries(Object.entries(given).filter(([name]) => reads.includes(name)))
      const what = `seed ${seed}, case ${index}: ${source} on ${JSON.stringify(given)}`
      assert.strictEqual(outcomeOf(run(source, kept)), outcomeOf(run(source, given)), what)
    }
  })

  it.each([
    ["$round(2.5)", {}],
    ["$round(3.5)", {}],
    ["$round(-2.5)", {}],
    ["$round(1.005, 2)", {}],
    ["$round(12345.675, 2)", {}],
    ["$round(125, -1)", {}],
    ["$round(-0.4)", {}],
    ["1 / 0", {}],
    ["0 / 0", {}],
    ["(1 / 0) + 1", {}],
    ["1 / 0 and true", {}],
    ["0 / 0 and true", {}],
    ["[1 / 0]", {}],
    ["1 / 0 > 5", {}],
    ["missing + 1", {}],
    ["missing = missing", {}],
    ["missing != 1", {}],
    ["missing > 1", {}],
    ["missing and true", {}],
    ["missing ? 1", {}],
    ["missing ? 1 : 2", {}],
    ["missing & missing", {}],
    ["missing + 'text'", {}],
    ["missing > true", {}],
    ["'a' < 1", {}],
    ["'a' < 'b'", {}],
    ["'10' < '9'", {}],
    ["null = null", {}],
    ["null < 1", {}],
    ["[1, 2] = [1, 2]", {}],
    ["a = b", { a: { x: 1, y: [2] }, b: { y: [2], x: 1 } }],
    ["a.b", { a: [{ b: 1 }, { b: 2 }, {}] }],
    ["a.b", { a: [{ b: 1 }] }],
    ["a.b", { a: [{ b: [1] }] }],
    ["a.b", { a: [{ b: [] }] }],
    ["a.b", { a: [[{ b: 1 }], [{ b: [2, 3] }]] }],
    ["a.b", { a: [[{ b: [[1]] }]] }],
    ["a.b", { a: [] }],
    ["a", { a: [] }],
    ["a", { a: [7] }],
    ["a.b.c", { a: { b: [[{ c: 1 }]] } }],
    ["a.length", { a: [1, 2] }],
    ["a.length", { a: "text" }],
    ["toString", {}],
    ["hasOwnProperty.a", {}],
    ["`a b`.'c d'", { "a b": { "c d": 1 } }],
    ["$sum(a)", { a: [] }],
    ["$max(a)", { a: [] }],
    ["$sum(a)", { a: 3 }],
    ["$sum(a)", { a: ["x"] }],
    ["$sum(missing)", {}],
    ["$sum([missing, 1])", {}],
    ["$average([1, 2, a])", { a: [3, 4] }],
    ["[[1], a]", { a: [2, 3] }],
    ["['[', a]", { a: ["x"] }],
    ["$number('0x1F')", {}],
    ["$number('x0b1')", {}],
    ["$number('1e400')", {}],
    ["$number(' 1')", {}],
    ["$number(null)", {}],
    ["$number(true)", {}],
    ["$string(0.1 + 0.2)", {}],
    ["$string(1e21)", {}],
    ["$string(-0)", {}],
    ["$string(null)", {}],
    ["$string(a)", { a: { b: [0.1, null, "x"] } }],
    ["1 & true & null & a", { a: [1] }],
    ["$contains('abc', '')", {}],
    ["$contains(missing, 'a')", {}],
    ["$contains('abc', 1)", {}],
    ["$exists(a.b)", { a: {} }],
    ["$exists(a)", { a: null }],
    ["a in [1, 2]", { a: 2 }],
    ["a in 'abc'", { a: "a" }],
    ["missing in [1]", {}],
    ["-a", { a: "x" }],
    ["-a", {}],
    ["- -2", {}],
    ["a.b ?: 5", { a: { b: 0 } }],
    ["a.b ?? 5", { a: { b: 0 } }],
    ["a.b ?? 5", {}],
    ["10 % 3 + -7 % 3", {}],
    ["a and b or c", { a: 1, b: [0, 0], c: {} }],
    ["a ? 1 : 2", { a: [0, [], [[]]] }],
    ["a ? 1 : 2", { a: { _jsonata_lambda: true } }],
    ["$string(a)", { a: { _jsonata_function: true } }],
    ["a.b", { a: { b: 1, _jsonata_lambda: true } }]
  ] as const)("%s on %j is as in jsonata", async (source, input) => {
    assert.strictEqual(outcomeOf(run(source, input)), await libraryOutcome(source, input))
  })

  it("says in words what is wrong with a value", () => {
    const messageOf = (source: string, input: Readonly<Record<string, unknown>>) => {
      const evaluated = run(source, input)
      return Result.isFailure(evaluated) && evaluated.failure._tag === "ExpressionFailed" && evaluated.failure.message
    }
    assert.strictEqual(messageOf("a + 1", { a: "x" }), 'The left side of + is the text "x", not a number.')
    assert.strictEqual(messageOf("$sum(a)", { a: [1, null] }), "The function $sum takes numbers, not null.")
    assert.strictEqual(messageOf("1 / a", { a: 0 }), "The result is Infinity, no number that can be kept.")
  })

  it("stops when values make it work too much", () => {
    const text = "a".repeat(1_000_000)
    const started = performance.now()
    for (const [source, input] of [
      [Array.from({ length: 400 }, () => "t").join(" & "), { t: text }],
      ["$contains(t, p)", { t: text, p: `${"a".repeat(100_000)}b` }],
      [
        Array.from({ length: 150 }, () => "(a = b)").join(" or "),
        { a: Array(200_000).fill(1), b: [...Array(199_999).fill(1), 2] }
      ]
    ] as const) {
      const evaluated = run(source, input)
      assert.isTrue(Result.isFailure(evaluated) && evaluated.failure._tag === "ExpressionTimeout", source.slice(0, 20))
    }
    assert.isBelow(performance.now() - started, 1_000)
  })
})
