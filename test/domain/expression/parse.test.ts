import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import { inputOf, makeMemo } from "@argusiq/domain/expression/memo.ts"
import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import jsonata from "jsonata"
import { randomFrom } from "../../support/random.ts"

const tokens = [
  ..."a b $ $$ $v $sum $map $match $string true null and or in function 1 2.5 'x' \"y\" `z`".split(" "),
  ..."( ) [ ] { } , ; : . .. + - * / % = != < > <= >= & ? ?: ?? ~> := @ # ^( ** ( ) [ ] ( )".split(" "),
  ..."/MARK/ /MARK/i /*MARK/*/ /[/]MARK/ function($v){ $v:= ( ) } ) ]".split(" ")
]

const CASES = 20_000

describe("a source of random tokens", () => {
  it("is refused, or is what jsonata can parse too; no regular expression is made of it, and nothing takes long", () => {
    const seed = Number(process.env["SEED"] ?? Date.now() % 1_000_000_000)
    const random = randomFrom(seed)
    const made: Array<string> = []
    const original = globalThis.RegExp
    const watched = new Proxy(original, {
      construct: (target, [pattern, flags]) => {
        if (String(pattern).includes("MARK")) made.push(String(pattern))
        return new target(pattern, flags)
      }
    })
    let accepted = 0
    for (let index = 0; index < CASES; index++) {
      const length = 1 + Math.floor(random() * 9)
      const glue = random() < 0.5 ? " " : ""
      const source = Array.from({ length }, () => tokens[Math.floor(random() * tokens.length)]!).join(glue)
      const what = `seed ${seed}, case ${index}: ${source}`
      globalThis.RegExp = watched
      const started = performance.now()
      const result = parseExpression(source)
      globalThis.RegExp = original
      assert.isBelow(performance.now() - started, 500, what)
      assert.deepStrictEqual(made, [], what)
      if (Result.isFailure(result)) {
        const { message, position } = result.failure
        assert.isNotEmpty(message, what)
        assert.isTrue(position >= 0 && position <= source.length, what)
        continue
      }
      accepted++
      try {
        jsonata(source)
      } catch (cause) {
        // A regular expression is a text to our parser: whether it can be read, and stand there, shows where it is evaluated.
        if (source.includes("/")) continue
        assert.fail(`${what}: accepted, but ${Object(cause).message}`)
      }
    }
    assert.isAbove(accepted, CASES / 200, `seed ${seed}`)
  })
})

describe("what an expression reads", () => {
  it.each([
    ["a.b + c", ["a", "c"]],
    ["$.a + $$.b", ["a", "b"]],
    ["list[v > 1].n", ["list"]],
    ["list[v > $$.limit].n", ["limit", "list"]],
    ["$map(list, function($i){ $i.v * factor })", ["factor", "list"]],
    ["list.(v * 2)", ["list"]],
    ["list^(>v)[0]", ["list"]],
    ["list{n: $sum(v)}", ["list"]],
    ["{ 'k': a, b: c }", ["a", "b", "c"]],
    ["($k := a; $k.b)", ["a"]],
    ["$replace(a, /b/, c)", ["a", "c"]],
    ["a ~> $join(b)", ["a", "b"]],
    ["1 + 2", []],
    ["$lookup($, k)", undefined],
    ["$", undefined],
    ["$$", undefined],
    ["*", undefined],
    ["**.v", undefined],
    ["$keys()", undefined],
    ["$[a > 1].b", undefined],
    ["a.b.%.c", undefined],
    ["a@$x.b", undefined],
    ["($r := $$; $r.a)", undefined],
    ["a.$$", undefined],
    ["a[$exists($$)]", undefined]
  ] as const)("in %s is %j", (source, reads) => {
    assert.deepStrictEqual(Result.getOrThrow(parseExpression(source)).reads, reads as never)
  })
})

describe("a memo", () => {
  const sandboxed = Result.getOrThrow(parseExpression("$join([a, b])"))

  it("notes what is missed once, by what is read, and knows it when it has learnt it", () => {
    const memo = makeMemo()
    for (const c of [1, 2])
      assert.deepStrictEqual(memo.evaluate(sandboxed, { b: "y", a: "x", c }), Result.succeed(undefined))
    assert.strictEqual(memo.misses(), 2)
    const misses = memo.takeMisses()
    assert.deepStrictEqual(misses, [{ expression: sandboxed, input: { a: "x", b: "y" } }])
    assert.deepStrictEqual(memo.takeMisses(), [])
    memo.learn(misses, [Result.succeed("xy")])
    assert.deepStrictEqual(memo.evaluate(sandboxed, { a: "x", b: "y", c: 3 }), Result.succeed("xy"))
    memo.evaluate(sandboxed, { a: "x" })
    assert.lengthOf(memo.takeMisses(), 1)
  })

  it("evaluates what is compiled at once", () => {
    const memo = makeMemo()
    const compiled = Result.getOrThrow(parseExpression("a * 2"))
    assert.deepStrictEqual(memo.evaluate(compiled, { a: 2 }), Result.succeed(4))
    assert.deepStrictEqual(memo.takeMisses(), [])
  })

  it("sends own properties only", () => {
    const named = Result.getOrThrow(parseExpression("$join([toString])"))
    assert.deepStrictEqual(inputOf(named, {}), {})
  })
})
