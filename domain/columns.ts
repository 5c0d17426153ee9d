/**
 * Values that are much alike, column by column: what all of them have in common stands once. As text that is one object to the
 * garbage collector where they are ten each, and a third of their size.
 * @module
 */

/**
 * Plain JSON: the one value that all have, a column for each key that all have, the first of integers and how far each goes on
 * from the one before (instants are long, their distances are short), or the values.
 */
type Column =
  | { readonly one: unknown }
  | { readonly keys: Readonly<Record<string, Column>> }
  | { readonly first: number; readonly steps: ReadonlyArray<number> }
  | { readonly each: ReadonlyArray<unknown> }

/** Plain JSON. */
export interface Columns {
  readonly count: number
  readonly column: Column
}

type Keyed = Readonly<Record<string, unknown>>

const isKeyed = (value: unknown): value is Keyed => typeof value === "object" && value !== null && !Array.isArray(value)

/** Whether they are objects with the same keys in the same order, none of them undefined. */
const areAlike = (values: ReadonlyArray<unknown>): values is ReadonlyArray<Keyed> => {
  const [first] = values
  if (!isKeyed(first)) return false
  const keys = Object.keys(first)
  if (keys.includes("__proto__")) return false
  return values.every((value) => {
    if (!isKeyed(value)) return false
    let place = 0
    for (const key in value) if (key !== keys[place++] || value[key] === undefined) return false
    return place === keys.length
  })
}

/** Undefined: not all are integers of which the differences are exact. */
const stepsOf = (values: ReadonlyArray<unknown>): ReadonlyArray<number> | undefined => {
  const steps: Array<number> = []
  let before = values[0]
  for (let place = 1; place < values.length; place++) {
    const value = values[place]
    const step = Number.isSafeInteger(value) && Number.isSafeInteger(before) ? Number(value) - Number(before) : NaN
    if (!Number.isSafeInteger(step)) return undefined
    steps.push(step)
    before = value
  }
  return steps
}

const columnOf = (values: ReadonlyArray<unknown>): Column => {
  const [first] = values
  if (areAlike(values)) {
    const keys: Record<string, Column> = {}
    for (const key in first as Keyed) keys[key] = columnOf(values.map((value) => value[key]))
    return { keys }
  }
  if (values.every((value) => value === first)) return { one: first }
  const steps = typeof first === "number" ? stepsOf(values) : undefined
  return steps === undefined ? { each: values } : { first: first as number, steps }
}

/** Of plain JSON, at least one. */
export const toColumns = (values: ReadonlyArray<unknown>): Columns => ({
  count: values.length,
  column: columnOf(values)
})

const valuesOf = (column: Column, count: number): ReadonlyArray<unknown> => {
  if ("each" in column) return column.each
  if ("one" in column) return Array.from({ length: count }, () => column.one)
  if ("steps" in column) {
    let value = column.first
    return [value, ...column.steps.map((step) => (value += step))]
  }
  const values = Array.from({ length: count }, (): Record<string, unknown> => ({}))
  for (const key in column.keys) {
    const ofKey = valuesOf(column.keys[key]!, count)
    for (let place = 0; place < count; place++) values[place]![key] = ofKey[place]
  }
  return values
}

/** The values as they were. */
export const fromColumns = ({ column, count }: Columns): ReadonlyArray<unknown> => valuesOf(column, count)
