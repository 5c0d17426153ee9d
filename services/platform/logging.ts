/**
 * Logs: readable, or one JSON object per line with `LOG_FORMAT=json` and, unless told otherwise, in production.
 * @module
 */
import { Config, Effect, Layer, Logger, References } from "effect"

const usualFormat = Config.String("NODE_ENV").pipe(
  Config.withDefault(""),
  Config.map((environment) => (environment === "production" ? ("json" as const) : ("pretty" as const)))
)

export const format = Config.option(Config.Literals(["pretty", "json"], "LOG_FORMAT")).pipe(
  Config.flatMap((chosen) => (chosen._tag === "Some" ? Config.succeed(chosen.value) : usualFormat))
)
const level = Config.LogLevel("LOG_LEVEL").pipe(Config.withDefault("Info" as const))

/** A wrong value counts as the usual one here: the check of the settings names it. */
export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const chosen = yield* Effect.orElseSucceed(format, () => "pretty" as const)
    const minimum = yield* Effect.orElseSucceed(level, () => "Info" as const)
    const logger = chosen === "json" ? Logger.consoleJson : Logger.consolePretty()
    return Layer.merge(Logger.layer([logger]), Layer.succeed(References.MinimumLogLevel, minimum))
  })
)
