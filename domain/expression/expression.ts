/**
 * Expressions that users write, in JSONata: what the rest of the product knows of them. Hostile by assumption: the everyday
 * subset is compiled to plain functions, everything else runs in a child process that can be killed.
 * @module
 */
import { type Result, Schema } from "effect"

/** Source text. Parsed, and told apart as compiled or sandboxed, when it is saved. */
export const Expression = Schema.NonEmptyString.check(Schema.isMaxLength(10_000))

/** Why an expression cannot be saved; `position` counts UTF-16 units from 0. */
export interface ExpressionFault {
  readonly position: number
  readonly message: string
}

/** An evaluation that failed for this input; the next input may succeed. */
export class ExpressionFailed extends Schema.TaggedError<ExpressionFailed>()("ExpressionFailed", {
  expression: Schema.String,
  message: Schema.String
}) {}

/** An evaluation that took too long or too much memory, and was killed. */
export class ExpressionTimeout extends Schema.TaggedError<ExpressionTimeout>()("ExpressionTimeout", {
  expression: Schema.String,
  limitMillis: Schema.Finite
}) {}

/** What an evaluation gives: undefined where JSONata gives nothing. */
export type Evaluated = Result.Result<unknown, ExpressionFailed | ExpressionTimeout>

export interface ParsedExpression {
  readonly source: string
  /** The top-level names of its input that it can read, sorted; undefined when it may read any. */
  readonly reads: ReadonlyArray<string> | undefined
  /** Of the everyday subset: evaluates in process, in bounded time. Undefined: it has to run in the sandbox. */
  readonly run: ((input: Readonly<Record<string, unknown>>) => Evaluated) | undefined
}

/**
 * Gives the value of an expression for an input, so that pure code can use expressions that run elsewhere. For a sandboxed
 * one whose value is not known yet it notes the need and answers with nothing: the caller then evaluates what was noted, in
 * one batch, and computes again.
 */
export type Evaluate = (expression: ParsedExpression, input: Readonly<Record<string, unknown>>) => Evaluated
