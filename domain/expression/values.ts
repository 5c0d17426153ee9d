/**
 * JSONata's values and what its operators make of them (jsonata 2.2.2), for what runs in process. An array is a list of values; a
 * value and a list of it alone are the same where a path led to them.
 *
 * All work that grows with a value is counted, and stops when an evaluation has done too much of it.
 * @module
 */
import { EVERYDAY_WORK } from "./limits.ts"

/** Thrown: the expression cannot be evaluated for this input. Without a stack, since hostile messages make many. */
export class Failure {
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}
/** Thrown: the evaluation has done more work than it may. */
export const tooMuchWork = new Failure("too much work")

let work = 0
/** To be called before an evaluation: these functions never wait, so one counter is enough. */
export const startWork = (): void => {
  work = EVERYDAY_WORK
}
export const spend = (units: number): void => {
  work -= units
  if (work < 0) throw tooMuchWork
}

/** What a message says of a value. */
export const shown = (value: unknown): string => {
  if (typeof value === "string") return value.length > 40 ? `the text "${value.slice(0, 40)}…"` : `the text "${value}"`
  if (Array.isArray(value)) return `a list of ${value.length}`
  return typeof value === "object" && value !== null ? "an object" : String(value)
}

/** JSONata takes an object with these properties for a function, wherever it comes from. */
export const isFunctionLike = (value: object): boolean =>
  Reflect.get(value, "_jsonata_function") === true || Reflect.get(value, "_jsonata_lambda") === true

/** True for numbers; infinite ones are an error wherever a number is computed with. */
export const isNumber = (value: unknown): value is number => {
  if (typeof value !== "number" || Number.isNaN(value)) return false
  if (!Number.isFinite(value)) throw new Failure(`Number out of range: ${value} (a division by zero?).`)
  return true
}

/** The effective boolean of a value; nothing counts as false. */
export const truth = (value: unknown): boolean => {
  switch (typeof value) {
    case "boolean":
      return value
    case "number":
      return isNumber(value) && value !== 0
    case "string":
      return value !== ""
    case "object":
      if (value === null) return false
      if (Array.isArray(value)) {
        spend(value.length)
        // an infinite number is an error wherever it stands, so all are looked at
        return value.filter(truth).length > 0
      }
      return !isFunctionLike(value) && Object.keys(value).length > 0
    default:
      return false
  }
}

/** As text, with numbers to 15 digits. */
export const textOf = (value: unknown): string => {
  if (typeof value === "string") return value
  if (typeof value === "number") {
    if (!Number.isFinite(value)) throw new Failure(`${value} cannot be written as text (a division by zero?).`)
    return Number.isInteger(value) ? JSON.stringify(value) : String(Number(value.toPrecision(15)))
  }
  if (typeof value !== "object" || value === null) return String(value)
  if (isFunctionLike(value)) return ""
  const text = JSON.stringify(value, (_, inner: unknown) => {
    if (typeof inner === "number" && isNumber(inner)) {
      return Number.isInteger(inner) ? inner : Number(inner.toPrecision(15))
    }
    return typeof inner === "object" && inner !== null && isFunctionLike(inner) ? "" : inner
  })
  spend(text.length)
  return text
}

const isEqualObject = (left: object, right: object): boolean => {
  const leftKeys = Object.getOwnPropertyNames(left).toSorted()
  const rightKeys = Object.getOwnPropertyNames(right).toSorted()
  spend(leftKeys.length + rightKeys.length)
  return (
    leftKeys.length === rightKeys.length &&
    leftKeys.every((key, index) => key === rightKeys[index]) &&
    leftKeys.every((key) => isEqual(Reflect.get(left, key), Reflect.get(right, key)))
  )
}

export const isEqual = (left: unknown, right: unknown): boolean => {
  if (typeof left === "string" && typeof right === "string") spend(Math.min(left.length, right.length))
  if (left === right) return true
  if (typeof left !== "object" || typeof right !== "object" || left === null || right === null) return false
  if (!Array.isArray(left) || !Array.isArray(right)) return isEqualObject(left, right)
  spend(left.length)
  return left.length === right.length && left.every((item, index) => isEqual(item, right[index]))
}

/** What a name leads to, in an object or in each item of a list. Own properties only. */
const lookUp = (value: unknown, name: string): unknown => {
  if (typeof value !== "object" || value === null) return undefined
  if (!Array.isArray(value)) {
    return Object.hasOwn(value, name) && !isFunctionLike(value) ? Reflect.get(value, name) : undefined
  }
  spend(value.length)
  const found: Array<unknown> = []
  for (const item of value) {
    const inner = lookUp(item, name)
    if (Array.isArray(inner)) for (const one of inner) found.push(one)
    else if (inner !== undefined) found.push(inner)
  }
  spend(found.length)
  return found
}

const single = (list: ReadonlyArray<unknown>): unknown => (list.length > 1 ? list : list[0])

/** The steps of a path from `at` on, for a list of values. */
const followList = (from: ReadonlyArray<unknown>, names: ReadonlyArray<string>, at: number): unknown => {
  let list = from
  for (let index = at; index < names.length; index++) {
    const found: Array<unknown> = []
    let isOwn = false // the one thing found is a list of the input's own
    spend(list.length)
    for (const item of list) {
      let value = lookUp(item, names[index]!)
      const isMany = Array.isArray(item) && (value as ReadonlyArray<unknown>).length > 1
      if (Array.isArray(item) && !isMany) value = (value as ReadonlyArray<unknown>)[0]
      if (value === undefined) continue
      isOwn = !isMany && Array.isArray(value)
      found.push(value)
    }
    if (index === names.length - 1 && found.length === 1 && isOwn) return found[0]
    list = found.flat()
    spend(list.length)
    if (list.length === 0) return undefined
  }
  return single(list)
}

/** Reads a path of names from the input. */
export const follow = (input: unknown, names: ReadonlyArray<string>): unknown => {
  let value = input
  for (let index = 0; index < names.length; index++) {
    if (Array.isArray(value)) return followList(value, names, index)
    value = lookUp(value, names[index]!)
    if (value === undefined) return undefined
  }
  return value
}
