import { spawn } from "node:child_process"
import { once } from "node:events"
import { readFileSync } from "node:fs"
import { fileURLToPath } from "node:url"
import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import { type ParsedExpression } from "@argusiq/domain/expression/expression.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { eachWithExpressions, withExpressions } from "@argusiq/layers/sandbox/withExpressions.ts"
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Result } from "effect"
import jsonata from "jsonata"

const parsed = (source: string): ParsedExpression => Result.getOrThrow(parseExpression(source))

const isAlive = (pid: number): boolean => {
  try {
    // a killed process that nobody has waited for still has an entry
    return readFileSync(`/proc/${pid}/stat`, "latin1").split(") ")[1]?.startsWith("Z") === false
  } catch {
    return false
  }
}
const untilDead = async (pids: ReadonlyArray<number>) => {
  const started = performance.now()
  while (pids.some(isAlive) && performance.now() - started < 5_000) await new Promise((done) => setTimeout(done, 20))
  return pids.filter(isAlive)
}

layer(Sandbox.layer, { excludeTestServices: true })("the sandbox", (it) => {
  it.effect("starts no process for what is compiled", () =>
    Effect.gen(function* () {
      const sandbox = yield* Sandbox
      const values = yield* sandbox.evaluate([{ expression: parsed("a * 2"), input: { a: 21 } }])
      assert.deepStrictEqual(values.map(Result.getOrThrow), [42])
      assert.deepStrictEqual(yield* sandbox.pids, [])
      assert.deepStrictEqual(yield* sandbox.evaluate([]), [])
    })
  )

  it.effect("gives what the library gives, in the order of the batch", () =>
    Effect.gen(function* () {
      const sandbox = yield* Sandbox
      const input = {
        a: 2.5,
        list: [
          { v: 3, n: "x" },
          { v: 1, n: "y" },
          { v: 2, n: "x" }
        ],
        text: "a-b-c",
        "b c": null
      }
      const sources = [
        "list[v > 1].n",
        "list[0].v + list[-1].v",
        "list^(v).n",
        "$map(list, function($i){ $i.v * $$.a })",
        "$reduce(list.v, function($x, $y){ $x + $y })",
        "list{n: $sum(v)}",
        "($k := a * 2; $k + 1)",
        "$split(text, '-')",
        "$split(text, /[-]/)[1]",
        "$replace(text, /([a-z])-/, '$1+')",
        "text ~> $uppercase ~> $length",
        "**.v",
        "*",
        "$keys($)",
        "$filter(list, function($i){ $i.n = 'x' }).v",
        "$formatNumber(a, '#,##0.00')",
        "$fromMillis(0)",
        "missing[0]",
        "$sort(list.v)",
        "$distinct(list.n)",
        "list.(v * 2)",
        "list[n = 'y'].%.a",
        "$power(2, 10) & ''",
        "$lookup($, 'b c')"
      ]
      const values = yield* sandbox.evaluate(sources.map((source) => ({ expression: parsed(source), input })))
      for (const [index, source] of sources.entries()) {
        const expected: unknown = yield* Effect.promise(() => jsonata(source).evaluate(input))
        const actual = Result.getOrThrow(values[index]!)
        assert.strictEqual(JSON.stringify(actual), JSON.stringify(expected), source)
      }
    })
  )

  it.effect("keeps its processes, and goes on when somebody else kills them", () =>
    Effect.gen(function* () {
      const sandbox = yield* Sandbox
      const expression = parsed("$join([text, $string(n)])")
      const batch = Array.from({ length: 5_000 }, (_, n) => ({ expression, input: { text: "t", n } }))
      const before = yield* sandbox.pids
      yield* sandbox.evaluate(batch)
      assert.deepStrictEqual(yield* sandbox.pids, before)
      const fiber = yield* Effect.forkChild(sandbox.evaluate(batch))
      yield* Effect.sleep(20)
      for (const pid of before) process.kill(pid, "SIGKILL")
      const values = yield* Fiber.join(fiber)
      assert.isTrue(values.every((value, n) => Result.isSuccess(value) && value.success === `t${n}`))
    })
  )

  it.effect("gives up what nobody waits for, and serves the next", () =>
    Effect.gen(function* () {
      const sandbox = yield* Sandbox
      const endless = parsed("($f := function($x){ $f($x) }; $f(n))")
      const batch = Array.from({ length: 3 }, (_, n) => ({ expression: endless, input: { n } }))
      const fiber = yield* Effect.forkChild(sandbox.evaluate(batch))
      yield* Effect.sleep(20)
      yield* Fiber.interrupt(fiber)
      const [value] = yield* sandbox.evaluate([{ expression: parsed("$join([a, a])"), input: { a: "x" } }])
      assert.strictEqual(Result.getOrThrow(value!), "xx")
    })
  )

  it.effect("lets pure code use its values", () =>
    Effect.gen(function* () {
      const sandbox = yield* Sandbox
      const joined = parsed("$join([a, b])")
      let rounds = 0
      const value = yield* withExpressions(sandbox, (evaluate) => {
        rounds++
        const first = Result.getOrThrow(evaluate(joined, { a: "x", b: "y", c: rounds }))
        return Result.getOrThrow(evaluate(joined, { a: first ?? "-", b: "z" }))
      })
      assert.strictEqual(value, "xyz")
      const computed: Array<number> = []
      const values = yield* eachWithExpressions(sandbox, [1, 2, 3], (item, evaluate) => {
        computed.push(item)
        return item === 2 ? Result.getOrThrow(evaluate(joined, { a: "2", b: "!" })) : item
      })
      assert.deepStrictEqual(values, [1, "2!", 3])
      assert.deepStrictEqual(computed, [1, 2, 3, 2])
    })
  )
})

layer(Layer.empty, { excludeTestServices: true })("the processes of a sandbox", (it) => {
  it.effect("end with it", () =>
    Effect.gen(function* () {
      const pids = yield* Effect.gen(function* () {
        const sandbox = yield* Sandbox
        yield* sandbox.evaluate([{ expression: parsed("$join([a])"), input: { a: "x" } }])
        return yield* sandbox.pids
      }).pipe(Effect.provide(Sandbox.layer))
      assert.isNotEmpty(pids)
      assert.deepStrictEqual(yield* Effect.promise(() => untilDead(pids)), [])
    })
  )

  it.effect("end with a process that is killed, also in the middle of endless work", () =>
    Effect.promise(async () => {
      const parent = spawn(process.execPath, [fileURLToPath(new URL("sandboxToOrphan.ts", import.meta.url))], {
        stdio: ["ignore", "pipe", "inherit"]
      })
      const [line] = (await once(parent.stdout, "data")) as [Buffer]
      const pids: ReadonlyArray<number> = JSON.parse(line.toString())
      assert.isNotEmpty(pids.filter(isAlive))
      await new Promise((done) => setTimeout(done, 30))
      parent.kill("SIGKILL")
      await once(parent, "exit")
      assert.deepStrictEqual(await untilDead(pids), [])
    })
  )
})
