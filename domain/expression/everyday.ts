/**
 * The everyday subset of JSONata as plain functions: paths of names, literals, lists, arithmetic, comparison, boolean and
 * conditional operators, and the functions of {@link everydayFunctions}. They give exactly what jsonata 2.2.2 gives, at a
 * thousandth of the price, and without anything that could run long: no loops, no variables, no regular expressions.
 * @module
 */
import { everydayFunctions, refuseFunction } from "./everyday-functions.ts"
import { hasOnly, type Node, stepsOf } from "./tree.ts"
import { Failure, follow, isEqual, isNumber, shown, spend, textOf, truth } from "./values.ts"

export type Closure = (input: unknown) => unknown

type Binary = (left: unknown, right: unknown) => unknown

const operand = (operator: string, side: "left" | "right", value: unknown): void => {
  if (value !== undefined && !isNumber(value)) {
    throw new Failure(`The ${side} side of ${operator} is ${shown(value)}, not a number.`)
  }
}

/** Numbers in all but hostile cases; the rest in one place. */
const arithmetic =
  (operator: string, compute: (left: number, right: number) => number): Binary =>
  (left, right) => {
    if (Number.isFinite(left) && Number.isFinite(right)) return compute(left as number, right as number)
    operand(operator, "left", left)
    operand(operator, "right", right)
    return undefined
  }

const isComparable = (value: unknown): boolean =>
  value === undefined || typeof value === "string" || typeof value === "number"

const comparison =
  (operator: string, compare: (left: number, right: number) => boolean): Binary =>
  (left, right) => {
    if (typeof left === "number" && typeof right === "number") return compare(left, right)
    if (!isComparable(left) || !isComparable(right)) {
      const value = isComparable(left) ? right : left
      throw new Failure(`The sides of ${operator} must be numbers or texts, not ${shown(value)}.`)
    }
    if (left === undefined || right === undefined) return undefined
    if (typeof left !== typeof right) {
      throw new Failure(`The sides of ${operator} are of different types: ${shown(left)} and ${shown(right)}.`)
    }
    spend(Math.min((left as string).length, (right as string).length))
    return compare(left as number, right as number)
  }

const binaries: Readonly<Record<string, Binary>> = {
  "+": arithmetic("+", (left, right) => left + right),
  "-": arithmetic("-", (left, right) => left - right),
  "*": arithmetic("*", (left, right) => left * right),
  "/": arithmetic("/", (left, right) => left / right),
  "%": arithmetic("%", (left, right) => left % right),
  "<": comparison("<", (left, right) => left < right),
  "<=": comparison("<=", (left, right) => left <= right),
  ">": comparison(">", (left, right) => left > right),
  ">=": comparison(">=", (left, right) => left >= right),
  "=": (left, right) => left !== undefined && right !== undefined && isEqual(left, right),
  "!=": (left, right) => left !== undefined && right !== undefined && !isEqual(left, right),
  "&": (left, right) => {
    const text = (left === undefined ? "" : textOf(left)) + (right === undefined ? "" : textOf(right))
    spend(text.length)
    return text
  },
  in: (left, right) => {
    if (left === undefined || right === undefined) return false
    if (!Array.isArray(right)) return left === right
    spend(right.length)
    return right.includes(left) && !Number.isNaN(left)
  }
}

const compileBinary = (node: Node): Closure | undefined => {
  if (!hasOnly(node, "value", "lhs", "rhs")) return undefined
  const left = compileNode(node["lhs"] as Node)
  const right = compileNode(node["rhs"] as Node)
  if (left === undefined || right === undefined) return undefined
  if (node.value === "and") return (input) => truth(left(input)) && truth(right(input))
  if (node.value === "or") return (input) => truth(left(input)) || truth(right(input))
  const binary =
    typeof node.value === "string" && Object.hasOwn(binaries, node.value) ? binaries[node.value] : undefined
  return binary && ((input) => binary(left(input), right(input)))
}

const compileNegation = (node: Node): Closure | undefined => {
  const inner = hasOnly(node, "value", "expression") ? compileNode(node["expression"] as Node) : undefined
  return (
    inner &&
    ((input) => {
      const value = inner(input)
      if (value === undefined) return undefined
      if (!isNumber(value)) throw new Failure(`${shown(value)} cannot be made negative.`)
      return -value
    })
  )
}

const compileAll = (nodes: ReadonlyArray<Node>): ReadonlyArray<Closure> | undefined => {
  const closures = nodes.map(compileNode).filter((closure) => closure !== undefined)
  return closures.length === nodes.length ? closures : undefined
}

/** Lists in a list become one with it, unless they are written there; what is nothing is left out. */
const compileList = (node: Node): Closure | undefined => {
  if (!hasOnly(node, "value", "expressions", "consarray")) return undefined
  const nodes = node["expressions"] as ReadonlyArray<Node>
  const items = compileAll(nodes)
  const isKept = nodes.map(({ value }) => value === "[")
  return (
    items &&
    ((input) => {
      const list: Array<unknown> = []
      for (let index = 0; index < items.length; index++) {
        const value = items[index]!(input)
        if (Array.isArray(value) && !isKept[index]!) {
          spend(value.length)
          for (const item of value) list.push(item)
        } else if (value !== undefined) list.push(value)
      }
      return list
    })
  )
}

const compilePath = (node: Node): Closure | undefined => {
  const steps = stepsOf(node)!
  if (!hasOnly(node, "steps")) return undefined
  const [first, ...others] = steps
  const isAbsolute = first?.type === "variable" && (first.value === "" || first.value === "$")
  const names = isAbsolute ? others : steps
  if (isAbsolute && !hasOnly(first, "value")) return undefined
  if (!names.every((step) => step.type === "name" && hasOnly(step, "value"))) return undefined
  const [name, ...further] = names.map(({ value }) => String(value))
  if (name === undefined) return undefined
  if (further.length > 0 || name in Object.prototype) {
    const path = [name, ...further]
    return (input) => follow(input, path)
  }
  return (input) => (input as Readonly<Record<string, unknown>>)[name]
}

const compileCondition = (node: Node): Closure | undefined => {
  if (!hasOnly(node, "condition", "then", "else")) return undefined
  const condition = compileNode(node["condition"] as Node)
  const onTrue = compileNode(node["then"] as Node)
  const onFalse = node["else"] === undefined ? () => undefined : compileNode(node["else"] as Node)
  if (condition === undefined || onTrue === undefined || onFalse === undefined) return undefined
  return (input) => (truth(condition(input)) ? onTrue(input) : onFalse(input))
}

const compileCall = (node: Node): Closure | undefined => {
  const procedure = node["procedure"] as Node
  if (!hasOnly(node, "value", "name", "arguments", "procedure") || !hasOnly(procedure, "value")) return undefined
  const called = procedure.type === "variable" ? everydayFunctions.get(String(procedure.value)) : undefined
  const given = compileAll(node["arguments"] as ReadonlyArray<Node>)
  if (called === undefined || given === undefined) return undefined
  const [first, second] = given
  if (first === undefined || given.length < called.least || given.length > called.most) return undefined
  const { compute } = called
  return second === undefined
    ? (input) => compute(refuseFunction(first(input)), undefined)
    : (input) => compute(refuseFunction(first(input)), refuseFunction(second(input)))
}

/** Undefined for what is not of the everyday subset. */
export const compileNode = (node: Node): Closure | undefined => {
  switch (node.type) {
    case "number":
    case "string":
    case "value": {
      const { value } = node
      return hasOnly(node, "value") ? () => value : undefined
    }
    case "variable":
      return hasOnly(node, "value") && (node.value === "" || node.value === "$") ? (input) => input : undefined
    case "path":
      return compilePath(node)
    case "binary":
      return compileBinary(node)
    case "unary":
      return node.value === "-" ? compileNegation(node) : node.value === "[" ? compileList(node) : undefined
    case "condition":
      return compileCondition(node)
    case "block": {
      const inner = node["expressions"] as ReadonlyArray<Node>
      return hasOnly(node, "expressions", "consarray") && inner.length === 1 ? compileNode(inner[0]!) : undefined
    }
    case "function":
      return compileCall(node)
    default:
      return undefined
  }
}
