import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import { type ParsedExpression } from "@argusiq/domain/expression/expression.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Result } from "effect"

const parsed = (source: string): ParsedExpression =>
  Result.match(parseExpression(source), {
    onSuccess: (expression) => expression,
    onFailure: ({ message, position }) => assert.fail(`${source.slice(0, 80)} at ${position}: ${message}`)
  })

const harmless = parsed("$join([name, 'x'], '-')")
const neighbours = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ expression: harmless, input: { name: `n${index}` } }))

const nested = (depth: number): unknown => (depth === 0 ? 1 : { a: nested(depth - 1) })
const timeout = "ExpressionTimeout"
const failed = "ExpressionFailed"

/** An idle machine needs under 300; the other tests run beside this one. */
const WITHIN_MILLIS = 2_000

layer(Sandbox.layer, { excludeTestServices: true })("a hostile expression", (it) => {
  it.effect.each([
    ["a regular expression that backtracks", "$match(text, /^(a+)+$/)", { text: `${"a".repeat(50)}b` }, timeout],
    ["another one", "$contains(text, /(x+x+)+y/)", { text: "x".repeat(60) }, timeout],
    ["one in $replace", "$replace(text, /(.*)*,/, '')", { text: "a".repeat(60) }, timeout],
    ["one in $split", "$split(text, /(a|aa)+$/)", { text: `${"a".repeat(60)}b` }, timeout],
    ["an expression that matches nothing", "$match(text, /b*/)", { text: "aaa" }, failed],
    ["padding that fills the memory", "$pad('x', 2e8, 'ab')", {}, timeout],
    [
      "text that doubles",
      "($d := function($t, $n){ $n = 0 ? $t : $d($t & $t, $n - 1) }; $length($uppercase($d('abcdefgh', 25))))",
      {},
      timeout
    ],
    ["recursion without an end", "($f := function($x){ $f($x) + 1 }; $f(1))", {}, failed],
    ["tail recursion without an end", "($f := function($x){ $f($x) }; $f(1))", {}, timeout],
    ["a huge range", "$sum([1..1e9])", {}, failed],
    ["a large range", "$count($map([1..9e6], function($x){ $x * 2 }))", {}, failed],
    ["loops in loops", "$map([1..5000], function($x){ $sum($map([1..5000], function($y){ $x * $y })) })", {}, timeout],
    [
      "a picture that backtracks",
      "$toMillis(text, picture)",
      { text: `${"a".repeat(40)}!`, picture: "[FNn]".repeat(12) },
      timeout
    ],
    ["a result too large", "$trim(text) & text", { text: "a".repeat(600_000) }, failed],
    ["a result that is a function", "function($x){ $x }", {}, failed],
    ["a result that is infinite", "$map([1, 2], function($x){ $x / 0 })", {}, failed],
    ["a failure with a message of its own", "$error('no luck')", {}, failed],
    ["a deep input", "$count(**)", nested(500), undefined],
    ["an input too large", "$length($trim(text))", { text: "a".repeat(1_100_000) }, failed],
    [
      "input that claims to be a function",
      "$f(1)[0] & ($f := f; $f(1))",
      { f: { _jsonata_function: true, implementation: 1 } },
      failed
    ],
    ["the constructor by a computed name", "$lookup(object, 'const' & 'ructor')", { object: {} }, undefined],
    ["the prototype by a computed name", "$lookup(object, '__pro' & 'to__')", { object: {} }, undefined],
    ["a prototype that is written to", "{ '__pro' & 'to__': { 'polluted': true } }", {}, undefined]
  ] as const)("%s: %s ends typed, and its neighbours live", ([, source, input, tag]) =>
    Effect.gen(function* () {
      const sandbox = yield* Sandbox
      yield* sandbox.evaluate(neighbours(1)) // started
      const started = performance.now()
      const hostile = { expression: parsed(source), input: input as Readonly<Record<string, unknown>> }
      const batch = [...neighbours(20), hostile, ...neighbours(30)]
      const values = yield* sandbox.evaluate(batch)
      const millis = performance.now() - started
      const outcome = values[20]!
      assert.strictEqual(Result.isFailure(outcome) ? outcome.failure._tag : undefined, tag, JSON.stringify(outcome))
      assert.isTrue(values.every((value, index) => index === 20 || Result.isSuccess(value)))
      assert.deepStrictEqual(Result.getOrThrow(values.at(-1)!), "n29-x")
      assert.isBelow(millis, WITHIN_MILLIS)
    })
  )

  it.effect("is not tried any more after five timeouts in a batch, and others are", () =>
    Effect.gen(function* () {
      const sandbox = yield* Sandbox
      const hostile = parsed("($f := function($x){ $f($x) }; $f(n))")
      const batch = Array.from({ length: 100 }, (_, n) => ({ expression: hostile, input: { n } }))
      const values = yield* sandbox.evaluate([...batch, ...neighbours(300)])
      assert.strictEqual(values.filter(Result.isFailure).length, 100)
      assert.isTrue(values.slice(100).every(Result.isSuccess))
    })
  )

  it.effect("leaves nothing behind for the next one", () =>
    Effect.gen(function* () {
      const sandbox = yield* Sandbox
      const [first, second] = yield* sandbox.evaluate([
        { expression: parsed("($secret := text; $g := $uppercase; $g($secret))"), input: { text: "mine" } },
        { expression: parsed("($other := 1; $exists($$.secret) or $string($keys($$)) != '[]')"), input: {} }
      ])
      assert.strictEqual(Result.getOrThrow(first!), "MINE")
      assert.isTrue(Result.isSuccess(second!))
    })
  )
})

describe("an expression that may not be saved", () => {
  it.each([
    ["$eval('1')", 0, "$eval is not available"],
    ["1 + $eval('1')", 4, "$eval is not available"],
    ["$now()", 0, "another value each time"],
    ["a.constructor", 2, '"constructor"'],
    ["a.`__proto__`.b", 2, '"__proto__"'],
    ["prototype", 0, '"prototype"'],
    ["{ '__proto__': 1 }", 2, '"__proto__"'],
    ["$foo(a)", 0, "neither a function nor a variable $foo"],
    ["$x + 1", 0, "neither a function nor a variable $x"],
    ["sum(a)", 0, "write $sum"],
    ["$sum(a, b)", 0, "takes 1 value, not 2"],
    ["a ~> $sum(b)", 5, "takes 1 value, not 2"],
    ["a +", 2, "end of expression"],
    ["a b", 2, '"b" is not expected'],
    ["(a", 0, "never closed"],
    ["a)", 1, "closes nothing"],
    ["[1, 2)", 5, "does not close the [ at position 0"],
    ["'abc", 0, "The text has no end"],
    ["$match(a, /b)", 10, "regular expression has no end"],
    ["| a | {} |", 0, "Transformations"],
    ["function($x)<n:n>{ $x }", 12, "signatures"],
    ["a[]/b/c", 3, '"/" is not expected'],
    ["1e999", 0, "Number out of range"],
    ["", 0, "empty"],
    [`"${"a".repeat(10_000)}"`, 10_000, "more than 10000"],
    ["(".repeat(65), 64, "nested more than 64"],
    [`${"(".repeat(30)}a${"?:b)".repeat(30)}`, 71, "more than 10000 parts"],
    [`${"-".repeat(3_000)}1`, 2_000, "more than 2000 parts"]
  ])("%s is refused with place and reason", (source, position, reason) => {
    const started = performance.now()
    const fault = Result.getOrThrow(Result.flip(parseExpression(source)))
    assert.include(fault.message, reason)
    assert.strictEqual(fault.position, position)
    assert.isBelow(performance.now() - started, 300)
  })

  it("of ten million characters is refused at once", () => {
    const started = performance.now()
    assert.isTrue(Result.isFailure(parseExpression(`"${"a".repeat(10_000_000)}"`)))
    assert.isBelow(performance.now() - started, 300)
  })

  it("never has its regular expressions made in this process", () => {
    const made: Array<string> = []
    const original = globalThis.RegExp
    globalThis.RegExp = new Proxy(original, {
      construct: (target, [pattern, flags]) => {
        made.push(String(pattern))
        return new target(pattern, flags)
      }
    })
    try {
      for (const source of [
        "$match(a, /SECRET/)",
        "a ~> /SECRET/",
        "[$match(a, /x[/]SECRET/i), b / c / d]",
        "$f(a, /SECRET(/)/)",
        "/SECRET/",
        "a[] /SECRET/ b",
        "a^(b) /SECRET/ c",
        "function($x)<s/SECRET/>{ $x }",
        "{ 'a': 1 } /SECRET/ 2",
        "(/SECRET/)",
        "- /SECRET/",
        "a ? /SECRET/ : b",
        "$f(?, /SECRET/)",
        "/* a */ /SECRET/"
      ]) {
        parseExpression(source)
      }
    } finally {
      globalThis.RegExp = original
    }
    assert.deepStrictEqual(
      made.filter((pattern) => pattern.includes("SECRET")),
      []
    )
  })
})
