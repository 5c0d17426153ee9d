import { Effect, Option, Result } from "effect"
import { Command, Flag } from "effect/cli"
import { Refusal } from "../errors.ts"
import { STOP_WITHIN_MILLIS, surviveLostReader, untilStopped } from "../process.ts"
import { configuredServices, parseServices, ServiceNames } from "../services.ts"
import { checkSettings } from "../settings.ts"

/** `argusiq start`: runs the platform until a signal stops it (exit code 0) or a part of it fails (exit code 1). */
export const start = Command.make(
  "start",
  {
    services: Flag.String("services").pipe(
      Flag.withDescription(`Which services this process runs, separated by commas: ${ServiceNames.join(", ")}`),
      Flag.optional
    )
  },
  Effect.fn("start")(function* ({ services }) {
    yield* surviveLostReader
    yield* checkSettings
    const chosen = Option.isSome(services) ? parseServices(services.value) : Result.succeed(yield* configuredServices)
    if (Result.isFailure(chosen)) return yield* new Refusal({ message: `--services: ${chosen.failure}` })
    // Only this command needs all the services: the others start faster without.
    const { runPlatform } = yield* Effect.promise(() => import("../Platform.ts"))
    const tracing = yield* Effect.promise(() => import("../tracing.ts"))
    yield* untilStopped(Effect.provide(runPlatform(chosen.success), tracing.layer), (signal) =>
      Effect.logInfo(
        `${signal}: stopping. What is in flight is finished first, within ${STOP_WITHIN_MILLIS / 1000} s; once more to stop at once.`
      )
    )
    yield* Effect.logInfo("Stopped")
  })
).pipe(Command.withDescription("Run the platform in this process"))
