/**
 * From source to an expression that can be evaluated, here or in the sandbox.
 * @module
 */
import { Result } from "effect"
import { compileNode, type Closure } from "./everyday.ts"
import {
  type Evaluated,
  ExpressionFailed,
  type ExpressionFault,
  ExpressionTimeout,
  type ParsedExpression
} from "./expression.ts"
import { EVALUATION_LIMIT_MILLIS } from "./limits.ts"
import { parse } from "./parse.ts"
import { readsOf } from "./reads.ts"
import { Failure, spend, startWork, tooMuchWork } from "./values.ts"

const nothing: Evaluated = Result.succeed(undefined)

/** A result is JSON: what is infinite or no number is an error, also in a list. */
const refuseInfinite = (value: unknown): void => {
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new Failure(`The result is ${value}, no number that can be kept.`)
  } else if (Array.isArray(value)) {
    spend(value.length)
    for (const item of value) refuseInfinite(item)
  }
}

const runner =
  (source: string, closure: Closure): NonNullable<ParsedExpression["run"]> =>
  (input) => {
    try {
      startWork()
      const value = closure(input)
      if (value === undefined) return nothing
      refuseInfinite(value)
      return Result.succeed(value)
    } catch (cause) {
      if (cause === tooMuchWork) {
        return Result.fail(new ExpressionTimeout({ expression: source, limitMillis: EVALUATION_LIMIT_MILLIS }))
      }
      if (cause instanceof Failure) {
        return Result.fail(new ExpressionFailed({ expression: source, message: cause.message }))
      }
      if (cause instanceof RangeError) {
        const message = "The value is too large or nested too deeply for this expression."
        return Result.fail(new ExpressionFailed({ expression: source, message }))
      }
      throw cause
    }
  }

/** Parses and checks an expression. Costs time in proportion to its source; nothing of it is run, and no regular expression made. */
export const parseExpression = (source: string): Result.Result<ParsedExpression, ExpressionFault> => {
  if (source.trim() === "") return Result.fail({ position: 0, message: "The expression is empty." })
  return Result.map(parse(source), (parsed) => {
    const closure = parsed.hasRegexes || parsed.bindsVariables ? undefined : compileNode(parsed.tree)
    return { source, reads: readsOf(parsed), run: closure && runner(source, closure) }
  })
}
