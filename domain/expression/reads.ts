/**
 * What an expression can read of its input.
 * @module
 */
import { functions } from "./functions.ts"
import { type Parsed } from "./parse.ts"
import { childrenOf, type Node, stepsOf } from "./tree.ts"

/** Thrown where an expression takes its whole input, or what cannot be told. */
const everything = new Error("reads everything")

/** Nodes with a meaning of their own: parents of what was read, contexts bound aside, whole inputs. */
const readsAll = (node: Node): boolean =>
  node.type === "parent" || node["focus"] !== undefined || node["ancestor"] !== undefined

const isInput = (node: Node): boolean => node.type === "variable" && (node.value === "" || node.value === "$")

class Reads {
  readonly names = new Set<string>()
  readonly isRegex: Parsed["isRegex"]
  constructor(isRegex: Parsed["isRegex"]) {
    this.isRegex = isRegex
  }

  /** A step that is evaluated for the input, or for something in it: then only `$$` leads back to the input. */
  step(step: Node, atInput: boolean): void {
    if (step.type === "name") {
      if (atInput && !this.isRegex(step)) this.names.add(String(step.value))
    } else this.node(step, atInput, true)
    if (step.type === "name" || step.type === "variable") for (const child of childrenOf(step)) this.node(child, false)
  }

  path(steps: ReadonlyArray<Node>, atInput: boolean): void {
    const [first, second, ...others] = steps
    if (first === undefined) return
    const isWhole = isInput(first) && (atInput || first.value === "$")
    if (!isWhole) {
      this.step(first, atInput)
      for (const step of steps.slice(1)) this.step(step, false)
      return
    }
    if (second?.type !== "name" || Object.hasOwn(first, "stages") || Object.hasOwn(first, "predicate")) throw everything
    this.step(second, true)
    for (const step of others) this.step(step, false)
  }

  /** @param isStep of a path, so that what is below it is read of what the path leads to, not of the input, unless it is the first */
  node(node: Node, atInput: boolean, isStep = false): void {
    if (readsAll(node)) throw everything
    const steps = stepsOf(node)
    if (steps !== undefined) {
      for (const step of steps) if (readsAll(step)) throw everything
      this.path(steps, atInput)
      if (node["group"] !== undefined || node["predicate"] !== undefined) this.below(node, false, "steps")
      return
    }
    if (isInput(node) && (atInput || node.value === "$")) throw everything
    if (atInput && (node.type === "wildcard" || node.type === "descendant")) throw everything
    if (node.type === "function" || node.type === "partial") this.call(node, atInput)
    this.below(node, atInput, isStep ? "stages" : "")
    if (isStep && node["stages"] !== undefined) this.list(node["stages"], false)
  }

  call(node: Node, atInput: boolean): void {
    const procedure = node["procedure"] as Node
    if (procedure.type !== "variable" || !atInput) return
    const below = functions.get(String(procedure.value))?.readsInputBelow ?? 0
    if ((node["arguments"] as ReadonlyArray<Node>).length < below) throw everything
  }

  /** What is below a node; predicates and groups are evaluated for its value. */
  below(node: Node, atInput: boolean, except: string): void {
    for (const key of Object.keys(node)) {
      if (key === except || key === "value") continue
      this.list(node[key], atInput && key !== "predicate" && key !== "group" && key !== "stages")
    }
  }

  list(value: unknown, atInput: boolean): void {
    for (const child of childrenOf({ type: "list", items: value })) this.node(child, atInput)
  }
}

/** The names at the top of its input that an expression can read, sorted; undefined when it may read any. */
export const readsOf = ({ isRegex, tree }: Parsed): ReadonlyArray<string> | undefined => {
  const reads = new Reads(isRegex)
  try {
    reads.node(tree, true)
  } catch (cause) {
    if (cause === everything) return undefined
    throw cause
  }
  return [...reads.names].toSorted()
}
