/**
 * What activities, templates and schedules refer to must be the organization's.
 * @module
 */
import { type Target } from "@argusiq/domain/activity/activity.ts"
import { Effect } from "effect"
import { type SqlClient } from "effect/sql"
import { BadReference } from "../registry/refusals.ts"

type Sql = SqlClient.SqlClient

const MISSING = "does not exist in this organization"

/** The device or asset of that id; null for none. */
export const targetOf = Effect.fnUntraced(function* (sql: Sql, id: string | null | undefined) {
  if (id === null || id === undefined) return null
  const [row] = yield* sql<{ type: "device" | "asset" }>`
    select 'asset' as type from assets where id = ${id}::uuid
    union all select 'device' from devices where id = ${id}::uuid`
  if (row === undefined) return yield* new BadReference({ path: "targetId", message: MISSING })
  return { type: row.type, id } satisfies Target
})

/** Refuses a user who is no member. `path`: of the property in the request. */
export const refuseStranger = Effect.fnUntraced(function* (
  sql: Sql,
  userId: string | null | undefined,
  path = "assignedUserId"
) {
  if (userId === null || userId === undefined) return
  const rows = yield* sql`select from memberships where user_id = ${userId}::uuid`
  if (rows.length === 0) return yield* new BadReference({ path, message: "is no member of this organization" })
})

/** Refuses an activity type that there is not. */
export const refuseUnknownType = Effect.fnUntraced(function* (sql: Sql, id: string | undefined) {
  if (id === undefined) return
  const rows = yield* sql`select from activity_types where id = ${id}::uuid`
  if (rows.length === 0) return yield* new BadReference({ path: "activityTypeId", message: MISSING })
})

/** Refuses a template that there is not. */
export const refuseUnknownTemplate = Effect.fnUntraced(function* (sql: Sql, id: string | undefined) {
  if (id === undefined) return
  const rows = yield* sql`select from activity_templates where id = ${id}::uuid`
  if (rows.length === 0) return yield* new BadReference({ path: "templateId", message: MISSING })
})
