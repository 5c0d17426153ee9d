/**
 * Paths into a message, compiled once. `$.a.b[0]` and `$['a b']` become reads of own properties; what has to search
 * (`$..temp`, `$.list[*].v`, `$.list[-1:]`) walks the message once, in document order.
 *
 * The notation is that of RFC 9535 without filters, unions and slice steps. Nothing in a path is ever evaluated as code. It
 * is done here and not by a library since those stop at no first match and take a microsecond for each value they pass,
 * which a single message of many values would make seconds.
 * @module
 */
import { Result } from "effect"

/** Reads a value from a parsed message. Undefined when nothing is there; a JSON null counts as nothing. */
export type PathReader = (root: unknown) => unknown

export interface CompiledPath {
  readonly read: PathReader
  readonly searches: boolean // its cost grows with the message
}

type Step =
  | { readonly kind: "name"; readonly name: string } // of a property, or the index of an item
  | { readonly kind: "each" }
  | { readonly kind: "slice"; readonly from: number; readonly to: number }
  | { readonly kind: "descend" } // what follows applies to the value itself and to all that is in it

const MAX_UNITS = 500
const step =
  /(\.\.)?(?:(?:(?<=\.)|\.)(?:([\p{L}\p{N}_-]+)|(\*))|\[(?:(\d{1,9})|'([^'\\\]]*)'|"([^"\\\]]*)"|(\*)|(-?\d{0,9}):(-?\d{0,9}))\])/uy

/** The steps of a path that starts with `$`, undefined when it is none. */
const stepsOf = (path: string): ReadonlyArray<Step> | undefined => {
  const steps: Array<Step> = []
  let at = 1
  while (at < path.length) {
    step.lastIndex = at
    const match = step.exec(path)
    if (match === null) return undefined
    const [, descend, bare, star, index, single, double, starred, from, to] = match
    const name = bare ?? (index === undefined ? undefined : String(Number(index))) ?? single ?? double
    if (descend !== undefined) steps.push({ kind: "descend" })
    if (name !== undefined) steps.push({ kind: "name", name })
    else if (star !== undefined || starred !== undefined) steps.push({ kind: "each" })
    else steps.push({ kind: "slice", from: Number(from), to: to === "" ? Infinity : Number(to) })
    at = step.lastIndex
  }
  return steps
}

/** Own properties only; neither `__proto__` nor the length of an array is a part of the message. */
const readName = (value: unknown, name: string): unknown =>
  typeof value === "object" &&
  value !== null &&
  Object.hasOwn(value, name) &&
  !(name === "length" && Array.isArray(value))
    ? Reflect.get(value, name)
    : undefined

/** Names that a parsed object may inherit need the check of {@link readName}; others can be read at once. */
const isInherited = (name: string): boolean => name in Object.prototype || name in Array.prototype

const readPlain = (value: unknown, name: string): unknown =>
  typeof value === "object" && value !== null ? (value as Record<string, unknown>)[name] : undefined

const directReader = (names: ReadonlyArray<string>): PathReader => {
  const read = names.some(isInherited) ? readName : readPlain
  const [first, second] = names
  if (first === undefined) return (root) => root ?? undefined
  if (second === undefined) return (root) => read(root, first) ?? undefined
  if (names.length === 2) return (root) => read(read(root, first), second) ?? undefined
  return (root) => {
    let value = root
    for (const name of names) value = read(value, name)
    return value ?? undefined
  }
}

/** Told each match; true ends the search. */
type Visit = (value: unknown) => boolean

const someChild = (value: unknown, visit: Visit): boolean => {
  if (Array.isArray(value)) return value.some(visit)
  if (typeof value !== "object" || value === null) return false
  for (const key of Object.keys(value)) if (visit(Reflect.get(value, key))) return true
  return false
}

/** Recursive: the depth of a message was bounded when it was decoded. */
const search = (value: unknown, steps: ReadonlyArray<Step>, at: number, visit: Visit): boolean => {
  const step = steps[at]
  if (step === undefined) return visit(value)
  if (typeof value !== "object" || value === null) return false
  switch (step.kind) {
    case "name": {
      const found = readName(value, step.name)
      return found !== undefined && search(found, steps, at + 1, visit)
    }
    case "each":
      return someChild(value, (item) => search(item, steps, at + 1, visit))
    case "slice":
      return Array.isArray(value) && value.slice(step.from, step.to).some((item) => search(item, steps, at + 1, visit))
    case "descend":
      return search(value, steps, at + 1, visit) || someChild(value, (item) => search(item, steps, at, visit))
  }
}

const searchingReader =
  (steps: ReadonlyArray<Step>, all: boolean): PathReader =>
  (root) => {
    const found: Array<unknown> = []
    search(root, steps, 0, (value) => {
      if (value !== null || all) found.push(value)
      return !all && value !== null
    })
    return all ? (found.length === 0 ? undefined : found) : found[0]
  }

const refusal = (path: string, steps: ReadonlyArray<Step> | undefined): string | undefined => {
  if (!path.startsWith("$")) return "must start with $, the whole message"
  if (path.length > MAX_UNITS) return `is longer than ${MAX_UNITS} characters`
  if (path.includes("__proto__")) return "may not name __proto__"
  if (steps === undefined) {
    if (/[?()@]/.test(path)) return "may not contain filter or script expressions: ?( ), ( ) and @"
    if (/\[[^\]]*,/.test(path)) return "may not contain a union: give the alternatives as several paths"
    return "is not a JSONPath of names, indexes, slices, * and .."
  }
  // each further descent multiplies what is visited
  return steps.filter(({ kind }) => kind === "descend").length > 1 ? "may descend (..) only once" : undefined
}

/**
 * Compiles a path, or says what is wrong with it. A searching path reads its first match, or with `all` the array of all its
 * matches (undefined without any).
 */
export const compilePath = (path: string, all = false): Result.Result<CompiledPath, string> => {
  const steps = path.length <= MAX_UNITS ? stepsOf(path) : undefined
  const refused = refusal(path, steps)
  if (refused !== undefined || steps === undefined) return Result.fail(`The path ${JSON.stringify(path)} ${refused}.`)
  const names = steps.flatMap((one) => (one.kind === "name" ? [one.name] : []))
  const searches = names.length < steps.length
  return Result.succeed({ read: searches ? searchingReader(steps, all) : directReader(names), searches })
}

/** The names and indexes of a path that searches nothing, undefined for any other. */
export const pathNames = (path: string): ReadonlyArray<string> | undefined => {
  if (refusal(path, path.length <= MAX_UNITS ? stepsOf(path) : undefined) !== undefined) return undefined
  const steps = stepsOf(path) ?? []
  const names = steps.flatMap((one) => (one.kind === "name" ? [one.name] : []))
  return names.length === steps.length ? names : undefined
}
