/**
 * A process with a sandbox whose children are at work, to be killed: prints their ids.
 */
import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { Effect, Result } from "effect"

const parsed = (source: string) => Result.getOrThrow(parseExpression(source))

await Effect.runPromise(
  Effect.gen(function* () {
    const sandbox = yield* Sandbox
    yield* sandbox.evaluate([{ expression: parsed("$join([name])"), input: { name: "x" } }])
    yield* Effect.sleep(1_000) // both children are there
    // told before the work begins, since the sandbox kills a child that works for long
    console.log(JSON.stringify(yield* sandbox.pids))
    const endless = parsed("($f := function($x){ $f($x) }; $f(n))")
    for (;;) yield* sandbox.evaluate([{ expression: endless, input: { n: 1 } }])
  }).pipe(Effect.provide(Sandbox.layer))
)
