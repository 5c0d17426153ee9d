/**
 * What evaluating an expression costs: compiled, by the library, in the sandbox; and how long a hostile one lives. Run alone:
 * `node_modules/.bin/node bench/expressions.ts`.
 * @module
 */
import { parseExpression } from "@argusiq/domain/expression/compile.ts"
import { Sandbox } from "@argusiq/layers/sandbox/Sandbox.ts"
import { Effect, Result } from "effect"
import jsonata from "jsonata"
import { cpuMicros } from "../test/support/processes.ts"

const parsed = (source: string) => Result.getOrThrow(parseExpression(source))
const median = (values: ReadonlyArray<number>) => values.toSorted((left, right) => left - right)[values.length >> 1]!

const everyday = [
  "temperature * 1.8 + 32",
  "voltage * current",
  "temperature > 80 and pressure < 2",
  "$round((temperature - 32) / 1.8, 1)",
  "$average([temperature, pressure, voltage])",
  "state = 'on' ? voltage * current : 0",
  "motor.bearing.temperature > $max([temperature, 60])",
  "$contains($lowercase(state), 'on')"
]
const others = [
  "$join([state, $string(voltage)], '-')",
  "samples[value > 2].value ~> $sum",
  "$match(state, /o(n|ff)/).match"
]
const inputOf = (index: number) => ({
  temperature: 20 + (index % 100),
  pressure: 1 + (index % 3),
  voltage: 230.5,
  current: 1.5,
  state: "on",
  motor: { bearing: { temperature: 61 } },
  samples: [{ value: 1 }, { value: 2 + (index % 2) }, { value: 3 }]
})
const inputs = Array.from({ length: 1_000 }, (_, index) => inputOf(index))

const compiledNanos = (source: string): number => {
  const run = parsed(source).run!
  const rounds = Array.from({ length: 9 }, () => {
    const start = process.cpuUsage()
    for (let round = 0; round < 100; round++) for (const input of inputs) run(input)
    const { system, user } = process.cpuUsage(start)
    return ((user + system) * 1_000) / (100 * inputs.length)
  })
  return median(rounds)
}

const libraryNanos = async (source: string): Promise<number> => {
  const expression = jsonata(source)
  const rounds: Array<number> = []
  for (let round = 0; round < 5; round++) {
    const start = process.cpuUsage()
    for (const input of inputs) await expression.evaluate(input)
    const { system, user } = process.cpuUsage(start)
    rounds.push(((user + system) * 1_000) / inputs.length)
  }
  return median(rounds)
}

const rows: Array<Record<string, string | number>> = []
for (const source of everyday) {
  const library = await libraryNanos(source)
  rows.push({
    expression: source,
    "compiled, ns of CPU": Math.round(compiledNanos(source)),
    "library, ns of CPU": Math.round(library)
  })
}
console.table(rows)

const BATCH = 2_000
const inSandbox = Effect.gen(function* () {
  const sandbox = yield* Sandbox
  const measure = (source: string, atOnce: number) =>
    Effect.gen(function* () {
      const expression = parsed(source)
      const batch = Array.from({ length: BATCH }, (_, index) => ({ expression, input: inputOf(index) }))
      const rates: Array<number> = []
      const pids = yield* sandbox.pids
      const cpu = () => pids.reduce((sum, pid) => sum + cpuMicros(pid), 0)
      const cpuBefore = cpu()
      for (let round = 0; round < 7; round++) {
        const start = performance.now()
        yield* Effect.all(
          Array.from({ length: atOnce }, () => sandbox.evaluate(batch)),
          { concurrency: "unbounded" }
        )
        rates.push((BATCH * atOnce * 1_000) / (performance.now() - start))
      }
      const evaluations = 7 * BATCH * atOnce
      return { rate: Math.round(median(rates)), cpu: Number(((cpu() - cpuBefore) / evaluations).toFixed(1)) }
    })
  const table: Array<Record<string, string | number>> = []
  for (const source of others) {
    yield* measure(source, 1)
    const one = yield* measure(source, 1)
    const four = yield* measure(source, 4)
    table.push({
      expression: source,
      "evaluations/s": one.rate,
      "4 batches at once": four.rate,
      "µs of a child's CPU each": four.cpu
    })
  }
  console.table(table)

  const hostile = {
    "regular expression": ["$match(state, /^(a+)+$/)", { state: `${"a".repeat(60)}b` }],
    recursion: ["($f := function($x){ $f($x) }; $f(1))", {}],
    memory: ["$pad('x', 2e8, 'ab')", {}]
  } as const
  const harmless = { expression: parsed(others[0]!), input: inputOf(1) }
  const lives: Array<Record<string, string | number>> = []
  for (const [kind, [source, input]] of Object.entries(hostile)) {
    const millis: Array<number> = []
    for (let round = 0; round < 7; round++) {
      const start = performance.now()
      yield* sandbox.evaluate([harmless, { expression: parsed(source), input }, harmless])
      millis.push(performance.now() - start)
      yield* Effect.sleep(500)
    }
    lives.push({
      hostile: kind,
      "median ms for the batch": Math.round(median(millis)),
      "most ms": Math.round(Math.max(...millis))
    })
  }
  console.table(lives)
})
await Effect.runPromise(Effect.provide(inSandbox, Sandbox.layer))
