/**
 * What all lists of things that people edit have in common.
 * @module
 */
import { type PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import { type Actor } from "./Devices.ts"
import { BadReference, NotRegistered, refuseStale } from "./refusals.ts"

type What = NotRegistered["what"]
/** Tables with id and version. */
type Edited =
  | "devices"
  | "device_types"
  | "asset_types"
  | "assets"
  | "spaces"
  | "asset_profiles"
  | "asset_groups"
  | "activity_types"
  | "activity_templates"
  | "activities"
  | "schedules"

/** Locks the row for a change that is based on a version. */
export const lockRow = Effect.fnUntraced(function* (
  sql: PgClient.PgClient,
  table: Edited,
  what: What,
  id: string,
  basedOn: number | undefined
) {
  const [present] = yield* sql<{ version: number }>`
    select version from ${sql.literal(table)} where id = ${id}::uuid for no key update`
  if (present === undefined) return yield* new NotRegistered({ what })
  yield* refuseStale(basedOn, present.version)
})

export const updateRow = (
  sql: PgClient.PgClient,
  table: Edited,
  { userId }: Actor,
  id: string,
  values: Record<string, unknown>
) =>
  sql`update ${sql.literal(table)} set ${sql.update({ ...values, updated_by: userId ?? null })},
    version = version + 1, updated_at = now() where id = ${id}::uuid`

/** The levels that a tree may have. */
const MOST_LEVELS = 50

const badParent = (message: string) => new BadReference({ path: "parentId", message })

/** Nothing can be below itself, whatever is in between. Moves within one organization wait for one another. */
export const refuseParent = Effect.fnUntraced(function* (
  sql: PgClient.PgClient,
  table: "assets" | "spaces",
  { tenantId }: Actor,
  id: string,
  parent: string | null | undefined
) {
  if (parent === null || parent === undefined) return
  yield* sql`select pg_advisory_xact_lock(hashtextextended(${`${table} of ${tenantId}`}, 0))`
  const above = yield* sql<{ id: string }>`
    with recursive above as (
      select id, parent_id, 1 as level from ${sql.literal(table)} where id = ${parent}::uuid
      union all
      select item.id, item.parent_id, level + 1 from ${sql.literal(table)} item, above
      where item.id = above.parent_id and level <= ${MOST_LEVELS}
    ) select id from above`
  if (above.length === 0) return yield* badParent("does not exist in this organization")
  if (above.some((one) => one.id === id)) return yield* badParent("must not be the thing itself or below it")
  if (above.length > MOST_LEVELS) return yield* badParent(`makes more than ${MOST_LEVELS} levels`)
})
