/**
 * The events of an organization as people see them.
 * @module
 */
import type { DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import type { Comment } from "@argusiq/domain/http/alarms.ts"
import type { EventDetail, EventItem, EventQuery } from "@argusiq/domain/http/events.ts"
import { isoFromMicros } from "@argusiq/domain/http/scalars.ts"
import { Context, Effect, Layer } from "effect"
import type { Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import type { Actor } from "../registry/Devices.ts"
import { type Page, readPage } from "../registry/paging.ts"
import { type BadCursor, NotRegistered, orRefusal, orUnavailable, type WriteRefusal } from "../registry/refusals.ts"
import { pushMark } from "./MarkFeed.ts"
import { filtersOf, makeComments } from "./marks.ts"

interface Row {
  readonly id: string
  readonly tenant_id: EventItem["organizationId"]
  readonly event_type: string
  readonly entity_type: string
  readonly entity_id: string
  readonly rule_id: EventItem["ruleId"]
  readonly alarm_id: string | null
  readonly severity: EventItem["severity"]
  readonly priority: number | null
  readonly message: string | null
  readonly occurred: bigint
  readonly payload: EventItem["payload"]
  readonly acknowledged_at: Date | null
  readonly acknowledged_by: string | null
  readonly dismissed_at: Date | null
  readonly dismissed_by: string | null
  readonly comment_count: number
  readonly sorted: string
}

const toItem = (row: Row): EventItem => ({
  id: row.id,
  organizationId: row.tenant_id,
  eventType: row.event_type,
  entityType: row.entity_type,
  entityId: row.entity_id,
  ruleId: row.rule_id,
  alarmId: row.alarm_id,
  severity: row.severity,
  priority: row.priority,
  message: row.message,
  occurredAt: isoFromMicros(Number(row.occurred)),
  payload: row.payload,
  acknowledgedAt: row.acknowledged_at?.toISOString() ?? null,
  acknowledgedBy: row.acknowledged_by,
  dismissedAt: row.dismissed_at?.toISOString() ?? null,
  dismissedBy: row.dismissed_by,
  commentCount: row.comment_count
})

const states = {
  open: "item.acknowledged_at is null and item.dismissed_at is null",
  acknowledged: "item.acknowledged_at is not null and item.dismissed_at is null",
  dismissed: "item.dismissed_at is not null",
  all: "true"
} as const

/** Of marks the first stays. */
export class Events extends Context.Service<
  Events,
  {
    list(actor: Actor, query: EventQuery): Effect.Effect<Page<EventItem>, BadCursor | DatabaseUnavailable>
    get(actor: Actor, id: string): Effect.Effect<EventDetail, NotRegistered | DatabaseUnavailable>
    acknowledge(actor: Actor, id: string): Effect.Effect<EventItem, NotRegistered | DatabaseUnavailable>
    dismiss(actor: Actor, id: string): Effect.Effect<EventItem, NotRegistered | DatabaseUnavailable>
    comment(actor: Actor, id: string, body: string): Effect.Effect<Comment, NotRegistered | WriteRefusal>
  }
>()("argusiq/layers/alarms/Events") {
  static readonly layer = Layer.effect(
    Events,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)
      const comments = makeComments(sql, "event")

      const select = (where: Fragment, rest: Fragment, sorted: Fragment) => sql<Row>`
        select item.id, item.tenant_id, item.event_type, item.entity_type, item.entity_id, item.rule_id, item.alarm_id,
          item.severity, item.priority, item.message, (extract(epoch from item.occurred_at) * 1000000)::bigint as occurred,
          item.payload, item.acknowledged_at, item.acknowledged_by, item.dismissed_at, item.dismissed_by,
          item.comment_count, ${sorted} as sorted
        from system_events item where ${where} ${rest}`

      const item = Effect.fnUntraced(function* (id: string) {
        const [row] = yield* select(sql`item.id = ${id}::uuid`, sql.literal(""), sql.literal("''"))
        if (row === undefined) return yield* new NotRegistered({ what: "event" })
        return toItem(row)
      })

      const list = Effect.fn("Events.list")(function* (actor: Actor, query: EventQuery) {
        const { alarmId, eventType, state } = query
        const filters = [
          ...filtersOf(sql, query, "occurred_at"),
          sql.literal(state === undefined ? "item.dismissed_at is null" : states[state])
        ]
        if (eventType !== undefined) filters.push(sql`item.event_type = ${eventType}`)
        if (alarmId !== undefined) filters.push(sql`item.alarm_id = ${alarmId}::uuid`)
        const found = (...clauses: Parameters<typeof select>) => select(...clauses).pipe(scoped(actor), orUnavailable)
        return yield* readPage(sql, { ...query, sort: query.sort ?? "-occurredAt" }, filters, found, toItem)
      })

      const get = Effect.fn("Events.get")((actor: Actor, id: string) =>
        Effect.gen(function* () {
          const found = yield* item(id)
          return { ...found, comments: yield* comments.of(id) }
        }).pipe(scoped(actor), orUnavailable)
      )

      const mark = (how: "acknowledged" | "dismissed") => (actor: Actor, id: string) =>
        sql`update system_events set ${sql(`${how}_at`)} = clock_timestamp(), ${sql(`${how}_by`)} = ${actor.userId ?? null}::uuid
          where id = ${id}::uuid and ${sql(`${how}_at`)} is null`.pipe(
          Effect.andThen(item(id)),
          Effect.tap(pushMark(sql, { what: "event", id, tenantId: actor.tenantId })),
          scoped(actor),
          orUnavailable
        )

      const comment = Effect.fn("Events.comment")((actor: Actor, id: string, body: string) =>
        comments.add(actor, id, body).pipe(scoped(actor), orRefusal)
      )

      return Events.of({ list, get, acknowledge: mark("acknowledged"), dismiss: mark("dismissed"), comment })
    })
  )
}
