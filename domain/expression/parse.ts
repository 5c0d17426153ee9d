/**
 * From source to a syntax tree in which everything that is named exists and may be used.
 * @module
 */
import jsonata from "jsonata"
import { Result } from "effect"
import { type ExpressionFault } from "./expression.ts"
import { forbiddenNames, functions, refusedFunctions } from "./functions.ts"
import { type Scanned, scanExpression } from "./scan.ts"
import { childrenOf, isNode, type Node, stepsOf } from "./tree.ts"

export interface Parsed {
  readonly tree: Node
  readonly hasRegexes: boolean
  /** Whether anything is bound to a variable; then a name of a function may mean something else. */
  readonly bindsVariables: boolean
  /** Whether a name in the tree is a regular expression, which {@link scanExpression} took out. */
  readonly isRegex: (node: Node) => boolean
}

/** What the parser throws: an object with these, or an error of the engine. */
const faultOf = (cause: unknown, { startOf }: Scanned): ExpressionFault => {
  if (cause instanceof RangeError) return { position: 0, message: "The expression is nested too deeply." }
  const { message, position } = Object(cause) as { readonly message?: unknown; readonly position?: unknown }
  return {
    position: typeof position === "number" ? startOf(position) : 0,
    message: typeof message === "string" ? `${message}.`.replace(/\.\.$/, ".") : "The expression cannot be parsed."
  }
}

/** All names that the expression binds somewhere; where they hold is JSONata's to know. */
const boundNames = (node: Node, into: Set<string>): Set<string> => {
  const bind = (value: unknown) => typeof value === "string" && into.add(value)
  if (node.type === "bind" && isNode(node["lhs"])) bind(node["lhs"].value)
  if (node.type === "lambda") for (const argument of node["arguments"] as ReadonlyArray<Node>) bind(argument.value)
  if (node.type === "index") bind(node.value)
  bind(node["focus"])
  bind(node["index"])
  for (const child of childrenOf(node)) boundNames(child, into)
  return into
}

class Check {
  readonly bound: ReadonlySet<string>
  readonly faults: Array<ExpressionFault> = []
  readonly startOf: Scanned["startOf"]
  constructor(bound: ReadonlySet<string>, startOf: Scanned["startOf"]) {
    this.bound = bound
    this.startOf = startOf
  }

  fault(node: Node, message: string): void {
    this.faults.push({ position: this.startOf(node.position ?? 0), message })
  }

  variable(node: Node): void {
    const name = String(node.value)
    const refused = refusedFunctions.get(name)
    if (forbiddenNames.has(name)) this.fault(node, `The name $${name} may not be used.`)
    else if (refused !== undefined) this.fault(node, `The function $${name} is not available: it ${refused}.`)
    else if (name !== "" && name !== "$" && !this.bound.has(name) && !functions.has(name)) {
      this.fault(node, `There is neither a function nor a variable $${name}.`)
    }
  }

  /** @param passed arguments that `~>` adds */
  call(node: Node, passed: number): void {
    const procedure = node["procedure"] as Node
    const [step, ...others] = stepsOf(procedure) ?? []
    if (step?.type === "name" && others.length === 0 && functions.has(String(step.value))) {
      this.fault(step, `"${String(step.value)}" is no function: write $${String(step.value)}.`)
    }
    const name = String(procedure.value)
    const arity = functions.get(name)
    if (procedure.type !== "variable" || arity === undefined || this.bound.has(name)) return
    const { least, most } = arity
    const given = (node["arguments"] as ReadonlyArray<Node>).length + passed
    if (given >= least && given <= most) return
    const wanted = least === most ? String(least) : most === Infinity ? `${least} or more` : `${least} to ${most}`
    const s = most === 1 ? "" : "s"
    this.fault(procedure, `The function $${name} takes ${wanted} value${s}, not ${given}.`)
  }

  pair(pair: unknown): void {
    const key = Array.isArray(pair) && isNode(pair[0]) ? pair[0] : undefined
    if (key?.type === "string" && forbiddenNames.has(String(key.value))) {
      this.fault(key, `The name "${String(key.value)}" may not be used.`)
    }
  }

  node(node: Node, passed = 0): void {
    if (node.type === "name" && forbiddenNames.has(String(node.value))) {
      this.fault(node, `The name "${String(node.value)}" may not be used.`)
    }
    if (node.type === "variable") this.variable(node)
    if (node.type === "function" || node.type === "partial") this.call(node, passed)
    if (node.type === "unary" && node.value === "{") for (const pair of node["lhs"] as Array<unknown>) this.pair(pair)
    const group = node["group"]
    if (typeof group === "object" && group !== null) for (const pair of Reflect.get(group, "lhs")) this.pair(pair)
    for (const child of childrenOf(node)) this.node(child, node.type === "apply" && child === node["rhs"] ? 1 : 0)
  }
}

/** Bounded in time and memory by the source alone; nothing of it is run. */
export const parse = (source: string): Result.Result<Parsed, ExpressionFault> => {
  const scanned = scanExpression(source)
  if (Result.isFailure(scanned)) return Result.fail(scanned.failure)
  const { parsable, regexes, startOf } = scanned.success
  let tree: Node
  try {
    tree = jsonata(parsable).ast() as unknown as Node
    const bound = boundNames(tree, new Set())
    const check = new Check(bound, startOf)
    check.node(tree)
    const [first] = check.faults.toSorted((left, right) => left.position - right.position)
    if (first !== undefined) return Result.fail(first)
    return Result.succeed({
      tree,
      hasRegexes: regexes.size > 0,
      bindsVariables: bound.size > 0,
      isRegex: ({ position }) => position !== undefined && regexes.has(position)
    })
  } catch (cause) {
    return Result.fail(faultOf(cause, scanned.success))
  }
}
