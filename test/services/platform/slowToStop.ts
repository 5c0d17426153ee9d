import { runMain, untilStopped } from "@argusiq/platform/process.ts"
import { Console, Effect } from "effect"

/** A program that needs as many seconds to stop as its argument says. */
const seconds = Number(process.argv[2])
Effect.scoped(
  Effect.gen(function* () {
    yield* Effect.addFinalizer(() => Effect.sleep(seconds * 1000))
    yield* Console.log("running")
    yield* Effect.never
  })
).pipe(
  (program) => untilStopped(program, (signal) => Console.log(`stopping on ${signal}`)),
  Effect.andThen(Console.log("stopped")),
  runMain
)
