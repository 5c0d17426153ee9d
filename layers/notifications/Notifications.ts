/**
 * What a user is told of in the application: what is addressed to the user, to the user's e-mail address or role, since the
 * user is a member. Who is nobody, as the command line, is told nothing.
 * @module
 */
import { type DatabaseUnavailable } from "@argusiq/domain/errors.ts"
import { type Notification, type NotificationQuery } from "@argusiq/domain/http/notifications.ts"
import { Context, Effect, Layer } from "effect"
import { type Fragment } from "effect/sql/Statement"
import { inTenantOf } from "../database/inTenant.ts"
import { AppSql } from "../database/Sql.ts"
import { type Actor } from "../registry/Devices.ts"
import { type Page, readPage } from "../registry/paging.ts"
import { type BadCursor, NotRegistered, orUnavailable } from "../registry/refusals.ts"

interface Row {
  readonly id: string
  readonly event_id: string | null
  readonly activity_id: string | null
  readonly title: string
  readonly body: string
  readonly severity: Notification["severity"]
  readonly created_at: Date
  readonly read_at: Date | null
  readonly sorted: string
}
const toNotification = (row: Row): Notification => ({
  id: row.id,
  eventId: row.event_id,
  activityId: row.activity_id,
  title: row.title,
  body: row.body,
  severity: row.severity,
  createdAt: row.created_at.toISOString(),
  readAt: row.read_at?.toISOString() ?? null
})

export class Notifications extends Context.Service<
  Notifications,
  {
    /** The newest first. */
    list(actor: Actor, query: NotificationQuery): Effect.Effect<Page<Notification>, BadCursor | DatabaseUnavailable>
    unreadCount(actor: Actor): Effect.Effect<number, DatabaseUnavailable>
    read(actor: Actor, id: string): Effect.Effect<Notification, NotRegistered | DatabaseUnavailable>
    readAll(actor: Actor): Effect.Effect<void, DatabaseUnavailable>
  }
>()("argusiq/layers/notifications/Notifications") {
  static readonly layer = Layer.effect(
    Notifications,
    Effect.gen(function* () {
      const sql = yield* AppSql
      const scoped = inTenantOf(sql)

      const nobody = "00000000-0000-0000-0000-000000000000"
      const from = ({ userId = nobody }: Actor) => sql`
        from memberships member join users person on person.id = member.user_id
        join notifications item on item.channel = 'in_app' and item.created_at >= member.created_at
          and item.tenant_id = member.tenant_id
          and item.recipients && array[person.id::text, lower(person.email), member.role]
        left join notification_reads seen on seen.notification_id = item.id and seen.user_id = person.id
        where member.user_id = ${userId}::uuid and member.tenant_id = app_tenant()`
      const select = (actor: Actor, where: Fragment, rest: Fragment, sorted: Fragment) => sql<Row>`
        select item.id, item.event_id, item.activity_id, item.title, item.body, item.severity, item.created_at,
          seen.read_at, ${sorted} as sorted
        ${from(actor)} and ${where} ${rest}`
      const mark = (actor: Actor, which: Fragment) => sql`
        insert into notification_reads (notification_id, user_id, tenant_id)
        select item.id, person.id, item.tenant_id ${from(actor)} and ${which}
        on conflict do nothing`

      const list = Effect.fn("Notifications.list")((actor: Actor, { unread, ...query }: NotificationQuery) => {
        const filters =
          unread === undefined ? [] : [unread === "true" ? sql`seen.read_at is null` : sql`seen.read_at is not null`]
        const found = (...clauses: [where: Fragment, rest: Fragment, sorted: Fragment]) =>
          select(actor, ...clauses).pipe(scoped(actor), orUnavailable)
        return readPage(sql, { ...query, sort: "-createdAt" }, filters, found, toNotification)
      })

      const unreadCount = Effect.fn("Notifications.unreadCount")((actor: Actor) =>
        sql<{ count: number }>`select count(*)::int as count ${from(actor)} and seen.read_at is null`.pipe(
          Effect.map((rows) => rows[0]?.count ?? 0),
          scoped(actor),
          orUnavailable
        )
      )

      const read = Effect.fn("Notifications.read")((actor: Actor, id: string) =>
        Effect.gen(function* () {
          const which = sql`item.id = ${id}::uuid`
          yield* mark(actor, which)
          const [row] = yield* select(actor, which, sql.literal(""), sql.literal("''"))
          return row === undefined ? yield* new NotRegistered({ what: "notification" }) : toNotification(row)
        }).pipe(scoped(actor), orUnavailable)
      )

      const readAll = Effect.fn("Notifications.readAll")((actor: Actor) =>
        mark(actor, sql`seen.read_at is null`).pipe(Effect.asVoid, scoped(actor), orUnavailable)
      )

      return Notifications.of({ list, unreadCount, read, readAll })
    })
  )
}
