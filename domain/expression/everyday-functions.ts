/**
 * JSONata's functions that run in process, with the checks that their signatures there mean (jsonata 2.2.2).
 * @module
 */
import { Failure, isFunctionLike, shown, spend, textOf } from "./values.ts"

export interface EverydayFunction {
  readonly least: number
  readonly most: number
  readonly compute: (first: unknown, second: unknown) => unknown
}

const refuse = (name: string, value: unknown, wanted: string): Failure =>
  new Failure(`The function $${name} takes ${wanted}, not ${shown(value)}.`)

/** For a list of numbers, or a number alone. */
const ofNumbers = (
  name: string,
  compute: (numbers: ReadonlyArray<number>) => number | undefined
): readonly [string, EverydayFunction] => [
  name,
  {
    least: 1,
    most: 1,
    compute: (value) => {
      if (value === undefined) return undefined
      if (typeof value === "number") return compute([value])
      if (!Array.isArray(value)) throw refuse(name, value, "numbers")
      spend(value.length)
      for (const item of value) if (typeof item !== "number") throw refuse(name, item, "numbers")
      return compute(value)
    }
  }
]

const ofNumber = (name: string, compute: (value: number) => number): readonly [string, EverydayFunction] => [
  name,
  {
    least: 1,
    most: 1,
    compute: (value) => {
      if (typeof value === "number") return compute(value)
      if (value !== undefined) throw refuse(name, value, "a number")
      return undefined
    }
  }
]

const ofText = (name: string, compute: (value: string) => unknown): readonly [string, EverydayFunction] => [
  name,
  {
    least: 1,
    most: 1,
    compute: (value) => {
      if (value === undefined) return undefined
      if (typeof value !== "string") throw refuse(name, value, "a text")
      spend(value.length)
      return compute(value)
    }
  }
]

const sum = (numbers: ReadonlyArray<number>): number => {
  let total = 0
  for (const number of numbers) total += number
  return total
}

const extreme = (choose: (left: number, right: number) => number) => (numbers: ReadonlyArray<number>) =>
  numbers.length === 0 ? undefined : numbers.reduce((left, right) => choose(left, right))

/** Moves the decimal point in the text of the number, since a multiplication would not be exact. */
const shifted = (value: number, places: number): number => {
  const [digits, exponent] = value.toString().split("e")
  return Number(`${digits}e${exponent === undefined ? places : Number(exponent) + places}`)
}

/** Half to even, to so many decimal places; negative ones are before the point. */
export const roundHalfEven = (value: number, places: number | undefined): number => {
  const exact = places ? shifted(value, places) : value
  let rounded = Math.round(exact)
  if (Math.abs(rounded - exact) === 0.5 && Math.abs(rounded % 2) === 1) rounded--
  if (places) rounded = shifted(rounded, -places)
  return Object.is(rounded, -0) ? 0 : rounded
}

const decimal = /^-?[0-9]+(\.[0-9]+)?([Ee][-+]?[0-9]+)?$/
const hexadecimal = /^(0[xX][0-9A-Fa-f]+)|(0[oO][0-7]+)|(0[bB][0-1]+)$/ // anchored as JSONata has it

const numberOf = (value: unknown): number | undefined => {
  if (value === undefined || typeof value === "number") return value
  if (typeof value === "boolean") return value ? 1 : 0
  if (typeof value === "string") {
    spend(value.length)
    if (decimal.test(value) && Number.isFinite(Number(value))) return Number.parseFloat(value)
    if (hexadecimal.test(value)) return Number(value)
  }
  throw new Failure(`The function $number cannot make a number of ${shown(value)}.`)
}

/** A search costs at most the product of both lengths. */
const contains = (value: unknown, token: unknown): boolean | undefined => {
  if (value !== undefined && typeof value !== "string") throw refuse("contains", value, "a text")
  if (token !== undefined && typeof token !== "string") throw refuse("contains", token, "a text to look for")
  if (value === undefined || token === undefined) return undefined
  spend(value.length * Math.ceil(token.length / 64))
  return value.includes(token)
}

const round = (value: unknown, places: unknown): number | undefined => {
  if (value !== undefined && typeof value !== "number") throw refuse("round", value, "a number")
  if (places !== undefined && typeof places !== "number") throw refuse("round", places, "a number of places")
  return value === undefined ? undefined : roundHalfEven(value, places)
}

/** JSONata would call such a value as a function. */
export const refuseFunction = (value: unknown): unknown => {
  if (typeof value === "object" && value !== null && isFunctionLike(value)) {
    throw new Failure("An object with a property _jsonata_function or _jsonata_lambda cannot be given to a function.")
  }
  return value
}

export const everydayFunctions: ReadonlyMap<string, EverydayFunction> = new Map<string, EverydayFunction>([
  ofNumbers("sum", sum),
  ofNumbers("max", extreme(Math.max)),
  ofNumbers("min", extreme(Math.min)),
  ofNumbers("average", (numbers) => (numbers.length === 0 ? undefined : sum(numbers) / numbers.length)),
  ofNumber("abs", Math.abs),
  ofNumber("floor", Math.floor),
  ofNumber("ceil", Math.ceil),
  ofText("lowercase", (text) => text.toLowerCase()),
  ofText("uppercase", (text) => text.toUpperCase()),
  ["round", { least: 1, most: 2, compute: round }],
  ["number", { least: 1, most: 1, compute: numberOf }],
  ["string", { least: 1, most: 1, compute: (value) => (value === undefined ? undefined : textOf(value)) }],
  ["exists", { least: 1, most: 1, compute: (value) => value !== undefined }],
  ["contains", { least: 2, most: 2, compute: contains }]
])
