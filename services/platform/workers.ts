/**
 * Work that runs beside the rest for as long as the platform does. One that ends ends the platform: half a platform that
 * looks alive is worse than none.
 * @module
 */
import { Cause, Deferred, Effect, type Scope } from "effect"
import { Refusal } from "./errors.ts"

export interface Worker<R> {
  readonly name: string
  readonly run: Effect.Effect<unknown, unknown, R>
}

/** Fails when one of the workers ends, for whatever reason. */
export type Watch = Effect.Effect<never, Refusal>

/** Starts all; they are interrupted together, and waited for, when the scope closes. */
export const startWorkers = Effect.fnUntraced(function* <R>(
  workers: ReadonlyArray<Worker<R>>
): Effect.fn.Return<Watch, never, R | Scope.Scope> {
  const ended = yield* Deferred.make<never, Refusal>()
  const watched = workers.map(({ name, run }) =>
    run.pipe(
      Effect.matchCauseEffect({
        onSuccess: () => Effect.logFatal("ended although it should run for ever"),
        onFailure: (cause) => (Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.logFatal("failed", cause))
      }),
      Effect.andThen(
        Deferred.fail(
          ended,
          new Refusal({ message: `The service ${name} has ended, so the platform stops; its log says why.` })
        )
      ),
      Effect.annotateLogs("service", name)
    )
  )
  yield* Effect.forkScoped(Effect.all(watched, { concurrency: "unbounded", discard: true }))
  return Deferred.await(ended)
})
