/**
 * The sandbox's child process: evaluates expressions with the JSONata library, one after another, and can be killed at any time.
 * It is given no environment, no files but its own code, no way to make code from text, and little memory.
 *
 * Line by line as JSON on the standard input: {@link Job}. On the standard output one line for each evaluation, in order, as soon as
 * it is done: `v` and its value, `u` for nothing, `f` and the message of a failure. `r` when it is ready for its first job.
 * @module
 */
import { writeSync } from "node:fs"
import { createInterface } from "node:readline"
import { Worker } from "node:worker_threads"
import jsonata from "jsonata"
import type { Job } from "./protocol.ts"

const MOST_SOURCES = 1_000
const MAX_DEPTH = 400 // of the evaluation, which recursion without an end reaches at once
const MAX_SEQUENCE = 100_000
const MAX_MESSAGE_UNITS = 500

/** Expressions of all tenants run here: none may leave anything behind for the next. */
for (const constructor of [Object, Array, Function, String, Number, Boolean, RegExp, Date, Promise, Map, Set, Error]) {
  Object.seal(constructor)
  Object.seal(constructor.prototype)
}

// Ends the process with its parent, also while an evaluation runs without an end.
const parentWatch = new Worker(new URL("./parentWatch.ts", import.meta.url), {
  resourceLimits: { maxOldGenerationSizeMb: 8 }
})
parentWatch.on("error", (cause) => {
  throw cause // without it the process could outlive its parent
})

const expressions = new Map<string, jsonata.Expression>()
const expressionOf = (source: string): jsonata.Expression => {
  const known = expressions.get(source)
  if (known !== undefined) return known
  const expression = jsonata(source, { stack: MAX_DEPTH, sequence: MAX_SEQUENCE })
  if (expressions.size >= MOST_SOURCES) expressions.clear()
  expressions.set(source, expression)
  return expression
}

/** Thrown for a result that is no JSON. */
const refuse = (message: string): never => {
  throw { message }
}
const isFunction = (value: unknown): boolean =>
  typeof value === "function" ||
  (typeof value === "object" &&
    value !== null &&
    (Reflect.get(value, "_jsonata_function") === true || Reflect.get(value, "_jsonata_lambda") === true))

const finite = (_: string, value: unknown): unknown => {
  if (typeof value === "number" && !Number.isFinite(value)) {
    refuse(`The result is ${value}, no number that can be kept.`)
  }
  return isFunction(value) ? refuse("The result is a function: call it.") : value
}

const evaluate = async (source: string, input: unknown, maxResultUnits: number): Promise<string> => {
  try {
    const value: unknown = await expressionOf(source).evaluate(input)
    if (value === undefined) return "u"
    const json = JSON.stringify(value, finite)
    if (json.length > maxResultUnits) {
      refuse(`The result has ${json.length} characters as JSON, more than ${maxResultUnits}.`)
    }
    return `v${json}`
  } catch (cause) {
    const message: unknown = Object(cause).message
    const text = typeof message === "string" && message !== "" ? message : "The evaluation failed."
    return `f${JSON.stringify(text.slice(0, MAX_MESSAGE_UNITS))}`
  }
}

const pause = new Int32Array(new SharedArrayBuffer(4))
/** Waits without using the processor while the parent is behind in reading. */
const write = (line: string): void => {
  const bytes = Buffer.from(`${line}\n`)
  for (let at = 0; at < bytes.length;) {
    try {
      at += writeSync(1, bytes, at)
    } catch (cause) {
      if (Object(cause).code !== "EAGAIN") throw cause
      Atomics.wait(pause, 0, 0, 1)
    }
  }
}

write("r")
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  const { evaluations, maxResultUnits, sources } = JSON.parse(line) as Job
  for (const [source, input] of evaluations) write(await evaluate(sources[source]!, input, maxResultUnits))
}
