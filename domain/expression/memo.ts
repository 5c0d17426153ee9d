/**
 * Expressions within pure code: what runs in process runs at once, what needs the sandbox is noted, evaluated by the caller in one
 * batch, and known when the pure code runs again.
 * @module
 */
import { Result } from "effect"
import { type Evaluate, type Evaluated, ExpressionFailed, type ParsedExpression } from "./expression.ts"

export interface Evaluation {
  readonly expression: ParsedExpression
  readonly input: Readonly<Record<string, unknown>>
}

/** What an expression can read of an input: all that has to be sent and remembered of it. */
export const inputOf = ({ reads }: ParsedExpression, input: Evaluation["input"]): Evaluation["input"] => {
  if (reads === undefined) return input
  const read: Record<string, unknown> = {}
  for (const name of reads) if (Object.hasOwn(input, name)) read[name] = input[name]
  return read
}

/** Where there is no sandbox: what cannot run in process fails. */
export const evaluateHere: Evaluate = (expression, input) => {
  if (expression.run !== undefined) return expression.run(input)
  const message = "It can only be evaluated in the sandbox, which there is none of here."
  return Result.fail(new ExpressionFailed({ expression: expression.source, message }))
}

const nothing: Evaluated = Result.succeed(undefined)

export interface Memo {
  readonly evaluate: Evaluate
  /** What was asked for and is not known, each once; they count as taken until they are learnt. */
  takeMisses(): ReadonlyArray<Evaluation>
  /** How many evaluations were asked for in vain so far, repeated ones too. */
  misses(): number
  learn(evaluations: ReadonlyArray<Evaluation>, values: ReadonlyArray<Evaluated>): void
}

/** Holds every value it is taught: make one for each batch. */
export const makeMemo = (): Memo => {
  const bySource = new Map<string, Map<string, Evaluated>>()
  const missing = new Map<string, Evaluation>()
  let misses = 0
  return {
    evaluate: (expression, input) => {
      if (expression.run !== undefined) return expression.run(input)
      const read = inputOf(expression, input)
      const key = JSON.stringify(read)
      const known = bySource.get(expression.source)?.get(key)
      if (known !== undefined) return known
      misses++
      missing.set(`${expression.source}\0${key}`, { expression, input: read })
      return nothing
    },
    takeMisses: () => {
      const taken = [...missing.values()]
      missing.clear()
      return taken
    },
    misses: () => misses,
    learn: (evaluations, values) => {
      evaluations.forEach(({ expression, input }, index) => {
        const known = bySource.get(expression.source) ?? new Map<string, Evaluated>()
        bySource.set(expression.source, known.set(JSON.stringify(input), values[index]!))
      })
    }
  }
}
