/**
 * Where expressions run that are not of the everyday subset: child processes with little memory and no rights, killed and replaced
 * when an evaluation takes too long.
 * @module
 */
import { availableParallelism } from "node:os"
import { type Evaluated } from "@argusiq/domain/expression/expression.ts"
import { EVALUATION_LIMIT_MILLIS } from "@argusiq/domain/expression/limits.ts"
import { type Evaluation } from "@argusiq/domain/expression/memo.ts"
import { Context, Effect, Layer, Metric } from "effect"
import { SandboxPool } from "./SandboxPool.ts"

const evaluated = Metric.counter("argusiq_sandbox_evaluations_total", { incremental: true })
const lost = Metric.counter("argusiq_sandbox_processes_killed_total", { incremental: true })

export class Sandbox extends Context.Service<
  Sandbox,
  {
    /**
     * The values of a batch, in its order. What is compiled runs here. An evaluation that takes more than 50 ms of a processor, or
     * more memory than the child has, is an `ExpressionTimeout`; after five of an expression in one batch the rest of the batch is not
     * tried with it. Never fails: while no child can be started it waits.
     */
    evaluate(batch: ReadonlyArray<Evaluation>): Effect.Effect<ReadonlyArray<Evaluated>>
    /** The child processes that run; they start with the first evaluation that needs one. */
    readonly pids: Effect.Effect<ReadonlyArray<number>>
  }
>()("argusiq/layers/sandbox/Sandbox") {
  static readonly layer: Layer.Layer<Sandbox> = Layer.effect(
    Sandbox,
    Effect.gen(function* () {
      const log = Effect.runForkWith(yield* Effect.context())
      const pool = new SandboxPool({
        size: Math.min(2, availableParallelism()),
        limitMillis: EVALUATION_LIMIT_MILLIS,
        onStartFailure: (stderr) =>
          log(Effect.logWarning("A process for expressions cannot be started; trying again.", stderr)),
        onLoss: () => log(Metric.update(lost, 1))
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => pool.close()))
      const inChildren = (batch: ReadonlyArray<Evaluation>) =>
        Effect.callback<ReadonlyArray<Evaluated>>((resume) => {
          const giveUp = pool.evaluate(batch, (values) => resume(Effect.succeed(values)))
          return Effect.sync(giveUp)
        })
      return Sandbox.of({
        evaluate: Effect.fn("Sandbox.evaluate")(function* (batch) {
          const values = yield* inChildren(batch)
          yield* Metric.update(evaluated, batch.length)
          return values
        }),
        pids: Effect.sync(() => pool.pids)
      })
    })
  )
}
