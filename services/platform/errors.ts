/**
 * What the command line tells a person when something cannot be done.
 * @module
 */
import { Cause, Predicate, Runtime, Schema } from "effect"
import { CliError } from "effect/cli"

/** A refusal in words: what happened, to what, and what to do. Printed as it is, without a stack. */
export class Refusal extends Schema.TaggedError<Refusal>()("Refusal", { message: Schema.String }) {
  override readonly [Runtime.errorReported] = false
  override get [CliError.userMessage]() {
    return this.message
  }
}

const causesOf = (failure: unknown): ReadonlyArray<object> => {
  const found: Array<object> = []
  const visit = (value: unknown, depth: number): void => {
    if (depth > 8 || !Predicate.isObject(value)) return
    found.push(value)
    for (const key of ["cause", "reason", "error"] as const) {
      if (Predicate.hasProperty(value, key)) visit(value[key], depth + 1)
    }
  }
  visit(failure, 0)
  return found
}

/** The port that could not be opened because another process has it; undefined when the cause is something else. */
export const busyPort = (cause: Cause.Cause<unknown>): number | undefined => {
  for (const reason of cause.reasons) {
    const failure = Cause.isFailReason(reason) ? reason.error : Cause.isDieReason(reason) ? reason.defect : undefined
    for (const error of causesOf(failure)) {
      if (
        Predicate.hasProperty(error, "code") &&
        error.code === "EADDRINUSE" &&
        Predicate.hasProperty(error, "port") &&
        typeof error.port === "number"
      ) {
        return error.port
      }
    }
  }
  return undefined
}
