/**
 * How the process ends: signals, the time a stop may take, exit codes.
 * @module
 */
import { Effect, Runtime } from "effect"

/** From the signal to the end of the process. */
export const STOP_WITHIN_MILLIS = 10_000

/** A terminal and npm may both deliver one press of Ctrl-C; what comes later is a person insisting. */
const SAME_PRESS_MILLIS = 500

/** As a shell reports the end by SIGPIPE. */
const LOST_READER = 141

const exitCodes = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const
type StopSignal = keyof typeof exitCodes
const signals = Object.keys(exitCodes) as ReadonlyArray<StopSignal>

/**
 * Completes with the first signal that asks the process to stop. From then on the process is bound to end: a further signal
 * ends it at once, and so does the deadline.
 */
const stopRequested = Effect.callback<StopSignal>((resume) => {
  let requestedAt: number | undefined
  const onSignal = (signal: StopSignal) => {
    if (requestedAt === undefined) {
      requestedAt = performance.now()
      setTimeout(() => {
        console.error(`Not everything stopped within ${STOP_WITHIN_MILLIS / 1000} s; ending all the same.`)
        process.exit(1)
      }, STOP_WITHIN_MILLIS).unref()
      resume(Effect.succeed(signal))
    } else if (performance.now() - requestedAt > SAME_PRESS_MILLIS) {
      console.error("Stopped at once; what was acknowledged is in the log.")
      process.exit(exitCodes[signal])
    }
  }
  for (const signal of signals) process.on(signal, onSignal)
})

/** Runs until the effect ends or a signal asks to stop; then the effect is interrupted and its resources are released. */
export const untilStopped = <A, E, R>(
  effect: Effect.Effect<A, E, R>,
  onStop: (signal: string) => Effect.Effect<void> = () => Effect.void
): Effect.Effect<void, E, R> => Effect.raceFirst(Effect.flatMap(stopRequested, onStop), Effect.asVoid(effect))

let needsReader = true

/** From now on the program goes on when whoever read its output has gone: it does not live for its log. */
export const surviveLostReader = Effect.sync(() => {
  needsReader = false
})

/** Runs the program of this process and exits with its code; signals are the program's own affair (`untilStopped`). */
export const runMain = Runtime.makeRunMain(({ fiber, teardown }) => {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on("error", () => {
      if (needsReader) process.exit(LOST_READER)
    })
  }
  fiber.addObserver((exit) => teardown(exit, (code) => process.exit(code)))
})
