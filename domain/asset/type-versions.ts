/**
 * The versions of an asset type: what publishing and rolling back do to them, and to the types that inherit from it.
 * @module
 */
import { Equal } from "effect"
import { type Instant } from "../ids.ts"
import { type AssetTypeConfig } from "./asset-type.ts"
import { inherit } from "./type-inheritance.ts"

export interface PublishedAssetType {
  readonly number: number
  readonly effectiveAt: Instant
  /** What the type itself sets. */
  readonly config: AssetTypeConfig
  /** With what it inherits. */
  readonly resolved: AssetTypeConfig
}

/** A type with its newest published version; `published` is undefined until there is one. */
export interface TypeNode {
  readonly id: string
  readonly name: string
  readonly published: PublishedAssetType | undefined
  readonly children: ReadonlyArray<TypeNode>
}

/** A version to be written. */
export interface NewTypeVersion {
  readonly id: string
  readonly name: string
  readonly number: number
  readonly config: AssetTypeConfig
  readonly resolved: AssetTypeConfig
  /** Not asked for by anybody: it follows from a version of this type above it. */
  readonly because: string | undefined
}

const nextNumber = ({ published }: TypeNode): number => (published?.number ?? 0) + 1

/** The descendants that come to something else, nearest first. One that was never published inherits when it is. */
const following = (node: TypeNode, resolved: AssetTypeConfig): ReadonlyArray<NewTypeVersion> =>
  node.children.flatMap((child) => {
    if (child.published === undefined) return []
    const { config } = child.published
    const theirs = inherit(resolved, config)
    if (Equal.equals(theirs, child.published.resolved)) return []
    const { id, name } = child
    const version = { id, name, number: nextNumber(child), config, resolved: theirs, because: node.name }
    return [version, ...following(child, theirs)]
  })

/** The new version of a type, and those of its descendants that follow from it. */
export const versionsOf = (
  node: TypeNode,
  config: AssetTypeConfig,
  parent: AssetTypeConfig | undefined
): readonly [NewTypeVersion, ...ReadonlyArray<NewTypeVersion>] => {
  const resolved = inherit(parent, config)
  const { id, name } = node
  return [{ id, name, number: nextNumber(node), config, resolved, because: undefined }, ...following(node, resolved)]
}
