/**
 * An organization's asset types as they inherit from one another. Within a transaction that has locked them.
 * @module
 */
import { MAX_TYPE_DEPTH } from "@argusiq/domain/asset/type-inheritance.ts"
import { type PublishedAssetType, type TypeNode } from "@argusiq/domain/asset/type-versions.ts"
import { type PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { decodeConfig } from "./assetTypeRow.ts"
import { type Actor } from "./Devices.ts"
import { BadReference } from "./refusals.ts"

/** A version of one type may make versions of others: they are written one after another. */
export const lockTypes = (sql: PgClient.PgClient, { tenantId }: Actor) =>
  sql`select pg_advisory_xact_lock(hashtextextended(${`asset types of ${tenantId}`}, 0))`

const badParent = (message: string) => Effect.fail(new BadReference({ path: "parentTypeId", message }))

interface Row {
  readonly id: string
  readonly name: string
  readonly parent_type_id: string | null
  readonly number: number | null
  readonly effective_at: number
  readonly config: unknown
  readonly resolved: unknown
}

export interface TypeTree {
  readonly node: (id: string) => TypeNode | undefined
  readonly parentOf: (id: string) => TypeNode | undefined
  /** Refuses a parent that is the type itself, inherits from it, or would make the tree too deep. `id` may be of a type to be. */
  readonly refuseParent: (id: string, parentId: string) => Effect.Effect<void, BadReference>
}

export const readTypes = Effect.fnUntraced(function* (sql: PgClient.PgClient) {
  const rows = yield* sql<Row>`
    select type.id, type.name, type.parent_type_id, published.number, published.config, published.resolved,
      (extract(epoch from published.effective_at) * 1000000)::float8 as effective_at
    from asset_types type
    left join asset_type_versions published
      on published.asset_type_id = type.id and published.number = type.published_version`
  const byId = new Map(rows.map((row) => [row.id, row]))
  const childrenOf = Map.groupBy(rows, ({ parent_type_id }) => parent_type_id)

  const publishedOf = ({ config, effective_at, number, resolved }: Row): PublishedAssetType | undefined =>
    number === null
      ? undefined
      : { number, effectiveAt: effective_at, config: decodeConfig(config), resolved: decodeConfig(resolved) }
  const nodeOf = (row: Row): TypeNode => ({
    id: row.id,
    name: row.name,
    published: publishedOf(row),
    children: (childrenOf.get(row.id) ?? []).map(nodeOf)
  })
  const node = (id: string) => {
    const row = byId.get(id)
    return row && nodeOf(row)
  }
  const levelsBelow = (id: string): number =>
    1 + Math.max(0, ...(childrenOf.get(id) ?? []).map((child) => levelsBelow(child.id)))
  const above = (id: string): ReadonlyArray<string> => {
    const parent = byId.get(id)?.parent_type_id ?? undefined
    return parent === undefined ? [id] : [id, ...above(parent)]
  }

  const refuseParent = (id: string, parentId: string) => {
    if (!byId.has(parentId)) return badParent("does not exist in this organization")
    const ancestors = above(parentId)
    if (ancestors.includes(id)) return badParent("must not be the type itself or inherit from it")
    const depth = ancestors.length + levelsBelow(id)
    if (depth <= MAX_TYPE_DEPTH) return Effect.void
    return badParent(`makes ${depth} levels of inheritance: at most ${MAX_TYPE_DEPTH} are possible`)
  }

  const parentOf = (id: string) => {
    const parent = byId.get(id)?.parent_type_id ?? undefined
    return parent === undefined ? undefined : node(parent)
  }
  return { node, parentOf, refuseParent } satisfies TypeTree
})
