/**
 * Logs: readable, or one JSON object per line with `LOG_FORMAT=json` and, unless told otherwise, in production. A JSON line
 * has timestamp, level, service, message, and what it is about: requestId, userId, messageId, deviceId. Secrets are
 * `Redacted` and show as such.
 * @module
 */
import { Config, Effect, Layer, Logger, type LogLevel, References } from "effect"

const usualFormat = Config.String("NODE_ENV").pipe(
  Config.withDefault(""),
  Config.map((environment) => (environment === "production" ? ("json" as const) : ("pretty" as const)))
)

export const format = Config.option(Config.Literals(["pretty", "json"], "LOG_FORMAT")).pipe(
  Config.flatMap((chosen) => (chosen._tag === "Some" ? Config.succeed(chosen.value) : usualFormat))
)
const level = Config.LogLevel("LOG_LEVEL").pipe(Config.withDefault("Info" as const))

/** What a line says that no service has written. */
const PLATFORM = "platform"

/** One JSON object; what it is about stands beside the message. */
export const jsonLine = Logger.map(
  Logger.formatStructured,
  ({ annotations, cause, level, message, spans, timestamp }) => {
    const { service = PLATFORM, ...about } = annotations
    return JSON.stringify({
      timestamp,
      level,
      service,
      ...about,
      message,
      ...(cause !== undefined && { cause }),
      ...(Object.keys(spans).length > 0 && { spans })
    })
  }
)

const WINDOW_MILLIS = 60_000
const MOST_REMEMBERED = 1_000

const noisy: ReadonlySet<LogLevel.LogLevel> = new Set(["Warn", "Error"])

/** Which lines are said: of warnings and errors that say the same, one a minute, and then how often it was left out. */
export class Repetitions {
  readonly #told = new Map<string, { at: number; leftOut: number }>()

  /** Undefined: it is left out; else how often it was since it was last said. */
  note(text: string, nowMillis: number): number | undefined {
    const told = this.#told.get(text)
    if (told !== undefined && nowMillis - told.at < WINDOW_MILLIS) {
      told.leftOut++
      return undefined
    }
    this.#told.delete(text)
    if (this.#told.size >= MOST_REMEMBERED) this.#told.delete(this.#told.keys().next().value!)
    this.#told.set(text, { at: nowMillis, leftOut: 0 })
    return told?.leftOut ?? 0
  }
}

/** Passes by what repeats itself: of the same service, level and first 300 characters. */
export const withoutRepetitions = <Output>(
  logger: Logger.Logger<unknown, Output>,
  repetitions = new Repetitions()
): Logger.Logger<unknown, Output | void> =>
  Logger.make((options) => {
    if (!noisy.has(options.logLevel)) return logger.log(options)
    const [said] = Array.isArray(options.message) ? options.message : [options.message]
    const service = options.fiber.getRef(References.CurrentLogAnnotations)["service"]
    const leftOut = repetitions.note(
      `${options.logLevel} ${service} ${String(said).slice(0, 300)}`,
      options.date.getTime()
    )
    if (leftOut === undefined) return
    if (leftOut === 0) return logger.log(options)
    return logger.log({
      ...options,
      message: [
        ...(Array.isArray(options.message) ? options.message : [options.message]),
        `(and ${leftOut} times before)`
      ]
    })
  })

/** A wrong value counts as the usual one here: the check of the settings names it. */
export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const chosen = yield* Effect.orElseSucceed(format, () => "pretty" as const)
    const minimum = yield* Effect.orElseSucceed(level, () => "Info" as const)
    const logger = chosen === "json" ? Logger.withConsoleLog(jsonLine) : Logger.consolePretty()
    return Layer.merge(Logger.layer([withoutRepetitions(logger)]), Layer.succeed(References.MinimumLogLevel, minimum))
  })
)
