/**
 * What people do to alarms and events: the same for both, and never of any effect on what rules say.
 * @module
 */
import type { Comment } from "@argusiq/domain/http/alarms.ts"
import { type Severity, Severity as Severities } from "@argusiq/domain/system-event.ts"
import type { PgClient } from "@effect/sql-pg"
import { Effect } from "effect"
import type { Fragment } from "effect/sql/Statement"
import type { Actor } from "../registry/Devices.ts"
import { newId } from "../registry/newId.ts"
import { NotRegistered } from "../registry/refusals.ts"
import { instants, texts } from "../telemetry/columns.ts"
import { pushMark } from "./MarkFeed.ts"

interface CommentRow {
  readonly id: string
  readonly body: string
  readonly created_at: Date
  readonly created_by: string | null
}

const toComment = (row: CommentRow): Comment => ({
  id: row.id,
  body: row.body,
  createdAt: row.created_at.toISOString(),
  createdBy: row.created_by
})

const tables = {
  alarm: { table: "alarms", comments: "alarm_comments", reference: "alarm_id" },
  event: { table: "system_events", comments: "event_comments", reference: "event_id" }
} as const

export const makeComments = (sql: PgClient.PgClient, what: keyof typeof tables) => {
  const { comments, reference, table } = tables[what]
  return {
    /** Oldest first. */
    of: (id: string) =>
      Effect.map(
        sql<CommentRow>`select id, body, created_at, created_by from ${sql(comments)}
          where ${sql(reference)} = ${id}::uuid order by created_at, id`,
        (rows) => rows.map(toComment)
      ),
    add: Effect.fnUntraced(function* (actor: Actor, id: string, body: string) {
      const [marked] = yield* sql<{ tenant_id: string }>`update ${sql(table)} set comment_count = comment_count + 1
        where id = ${id}::uuid returning tenant_id`
      if (marked === undefined) return yield* new NotRegistered({ what })
      const [row] = yield* sql<CommentRow>`
        insert into ${sql(comments)} (id, tenant_id, ${sql(reference)}, body, created_by)
        values (${newId()}, ${marked.tenant_id}::uuid, ${id}::uuid, ${body}, ${actor.userId ?? null}::uuid)
        returning id, body, created_at, created_by`
      yield* pushMark(sql, { what, id, tenantId: marked.tenant_id })
      return toComment(row!)
    })
  }
}

interface Filter {
  readonly severity?: Severity
  readonly minSeverity?: Severity
  readonly entityType?: string
  readonly entityId?: string
  readonly ruleId?: string
  readonly startTime?: number
  readonly endTime?: number
}

const atLeast = (least: Severity) => Severities.literals.slice(Severities.literals.indexOf(least))

/** The filters that lists of both have; `at`: the column that their time is of. */
export const filtersOf = (sql: PgClient.PgClient, filter: Filter, at: string): Array<Fragment> => {
  const { endTime, entityId, entityType, minSeverity, ruleId, severity, startTime } = filter
  const column = sql.literal(`item.${at}`)
  return [
    ...(severity === undefined ? [] : [sql`item.severity = ${severity}`]),
    ...(minSeverity === undefined ? [] : [sql`item.severity = any(${texts(atLeast(minSeverity))})`]),
    ...(entityType === undefined ? [] : [sql`item.entity_type = ${entityType}`]),
    ...(entityId === undefined ? [] : [sql`item.entity_id = ${entityId}::uuid`]),
    ...(ruleId === undefined ? [] : [sql`item.rule_id = ${ruleId}::uuid`]),
    ...(startTime === undefined ? [] : [sql`${column} >= (${instants([startTime])})[1]`]),
    ...(endTime === undefined ? [] : [sql`${column} < (${instants([endTime])})[1]`])
  ]
}
