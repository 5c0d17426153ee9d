/**
 * Expressions of the everyday subset and inputs for them, from a seed.
 * @module
 */

import { randomFrom } from "../../support/random.ts"

export const makeGenerator = (seed: number) => {
  const random = randomFrom(seed)
  const pick = <A>(items: ReadonlyArray<A>): A => items[Math.floor(random() * items.length)]!
  const names = ["a", "b", "c", "list", "object", "toString", "valueOf", "length"]
  const numbers = [0, 1, 2, 3, 10, 0.5, 1.5, 2.5, -1, -2.5, 1e3, 0.1, 123.456, 1e21, 1e-7, 12345.675, 1e308]
  const texts = ["", "a", "A", "abc", "10", "-1.5", "0x1F", "é", "[", "true", "x0b1", "ab", "{}", "1e3"]

  const scalar = (): unknown =>
    pick<() => unknown>([() => pick(numbers), () => pick(texts), () => random() < 0.5, () => null])()
  const value = (depth: number): unknown => {
    const kind = random()
    if (depth === 0 || kind < 0.5) return scalar()
    if (kind < 0.75) return Array.from({ length: Math.floor(random() * 4) }, () => value(depth - 1))
    return object(depth - 1)
  }
  const object = (depth: number): Record<string, unknown> =>
    Object.fromEntries(names.filter(() => random() < 0.5).map((name) => [name, value(depth)]))

  const quoted = (text: string) => JSON.stringify(text)
  const path = () => {
    const steps = Array.from({ length: 1 + Math.floor(random() * 3) }, () => pick(names))
    return pick(["", "", "", "$.", "$$."]) + steps.join(".")
  }
  const leaf = (): string =>
    pick<() => string>([
      path,
      path,
      path,
      () => String(pick(numbers)),
      () => quoted(pick(texts)),
      () => pick(["true", "false", "null", "[]", "$"])
    ])()
  const expression = (depth: number): string => {
    if (depth === 0) return leaf()
    const inner = () => expression(Math.floor(random() * depth))
    return pick<() => string>([
      () => `${inner()} ${pick(["+", "-", "*", "/", "%"])} ${inner()}`,
      () => `(${inner()} ${pick(["+", "-", "*", "/", "%"])} ${inner()})`,
      () => `(${inner()} ${pick(["=", "!=", "<", "<=", ">", ">=", "in"])} ${inner()})`,
      () => `(${inner()} ${pick(["and", "or", "&"])} ${inner()})`,
      () => `(${inner()} ? ${inner()} : ${inner()})`,
      () => `(${inner()} ? ${inner()})`,
      () => `(${inner()} ${pick(["?:", "??"])} ${inner()})`,
      () => `-(${inner()})`,
      () => `[${inner()}, ${inner()}]`,
      () => `$${pick(["sum", "max", "min", "average"])}(${pick([`[${inner()}, ${inner()}]`, inner()])})`,
      () => `$${pick(["abs", "floor", "ceil", "round", "number", "string", "exists"])}(${inner()})`,
      () => `$${pick(["lowercase", "uppercase"])}(${inner()})`,
      () => `$round(${inner()}, ${pick(["0", "1", "2", "-1", "1.5", inner()])})`,
      () => `$contains(${inner()}, ${inner()})`,
      leaf
    ])()
  }
  return { expression: () => expression(4), input: () => object(3) }
}
