/**
 * The syntax tree that JSONata's parser makes, as far as it is known here: what is of no use to us is read as it comes.
 * @module
 */

export interface Node {
  readonly type: string
  readonly value?: unknown
  readonly position?: number
  readonly [key: string]: unknown
}

export const isNode = (value: unknown): value is Node =>
  typeof value === "object" && value !== null && typeof Reflect.get(value, "type") === "string"

/** The nodes right below a node, in no particular order. */
export function* childrenOf(node: Node): Generator<Node> {
  for (const key of Object.keys(node)) {
    if (key !== "value") yield* nodesIn(node[key])
  }
}

function* nodesIn(value: unknown): Generator<Node> {
  if (Array.isArray(value)) for (const item of value) yield* nodesIn(item)
  else if (isNode(value)) yield value
  else if (typeof value === "object" && value !== null) for (const item of Object.values(value)) yield* nodesIn(item)
}

/** Whether a node has no properties but these: what the parser marked otherwise may mean something else. */
export const hasOnly = (node: Node, ...keys: ReadonlyArray<string>): boolean =>
  Object.keys(node).every((key) => key === "type" || key === "position" || keys.includes(key))

/** The steps of a path, undefined for any other node. */
export const stepsOf = (node: Node): ReadonlyArray<Node> | undefined =>
  node.type === "path" ? (node["steps"] as ReadonlyArray<Node>) : undefined
